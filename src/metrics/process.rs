//! What this process costs, read when somebody asks. Names and units follow the Prometheus client libraries.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Reads `/proc/self`; where there is none, nothing is told.
#[derive(Debug)]
pub(super) struct Process {
    /// When it began, in seconds since 1970.
    pub(super) began: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let began = ConstGauge::new(self.began);
        let text = "Start of the process since 1970-01-01";
        let metric = encoder.encode_descriptor(
            "process_start_time",
            text,
            Some(&Unit::Seconds),
            began.metric_type(),
        )?;
        began.encode(metric)?;
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let text = "Time that the process had a processor, in user and system mode";
            let metric = encoder.encode_descriptor(
                "process_cpu",
                text,
                Some(&Unit::Seconds),
                counter.metric_type(),
            )?;
            counter.encode(metric)?;
        }
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::new(bytes);
            let metric = encoder.encode_descriptor(
                "process_resident_memory",
                "Memory of the process that is in RAM",
                Some(&Unit::Bytes),
                gauge.metric_type(),
            )?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// Processor time of the process: `utime` and `stime` of proc_pid_stat(5), which count in hundredths of a second (`USER_HZ`)
/// on every architecture that is built for.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may contain anything, and ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(") ")?;
    let ticks = |field: usize| rest.split(' ').nth(field)?.parse::<u32>().ok();
    // Fields 14 and 15, counted from 1; the rest begins with field 3.
    Some(f64::from(ticks(11)?) / 100.0 + f64::from(ticks(12)?) / 100.0)
}

/// `VmRSS` of proc_pid_status(5), which counts in KiB.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_told_with_its_units() {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Process { began: 1.5 }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("\nprocess_start_time_seconds 1.5\n"), "{text}");
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
        let rss = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(rss.unwrap().parse::<i64>().unwrap() > 1 << 20, "{text}");
    }
}
