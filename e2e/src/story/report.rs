//! How the stories went, for people.

use std::time::Duration;

use anyhow::Result;

/// How one story went.
pub struct Outcome {
    name: &'static str,
    took: Duration,
    figures: Vec<String>,
    result: Result<()>,
}

impl Outcome {
    /// Puts together how a story went.
    pub fn new(name: &'static str, took: Duration, figures: Vec<String>, result: Result<()>) -> Self {
        Self {
            name,
            took,
            figures,
            result,
        }
    }

    /// Tells whether all that must be true was true.
    pub fn passed(&self) -> bool {
        self.result.is_ok()
    }

    /// Says it as soon as it is known.
    pub fn print_line(&self) {
        match &self.result {
            Ok(()) => println!("pass  {}  {:.1} s", self.name, self.took.as_secs_f64()),
            Err(error) => println!(
                "FAIL  {}  {:.1} s\n      {error:#}",
                self.name,
                self.took.as_secs_f64()
            ),
        }
    }

    fn verdict(&self) -> &'static str {
        if self.passed() { "pass" } else { "FAIL" }
    }
}

/// Prints all of them, with what they measured, and the count as the last line.
pub fn print_table(outcomes: &[Outcome], took: Duration) {
    let width = outcomes
        .iter()
        .map(|outcome| outcome.name.len())
        .max()
        .unwrap_or_default()
        .max(5);
    println!("\n{:width$}  result  seconds  figures", "story");
    for outcome in outcomes {
        let (name, verdict, seconds) = (outcome.name, outcome.verdict(), outcome.took.as_secs_f64());
        let mut figures = outcome.figures.iter();
        let first = figures.next().map_or("", String::as_str);
        println!("{name:width$}  {verdict:6}  {seconds:7.1}  {first}");
        for figure in figures {
            println!("{:width$}  {:6}  {:7}  {figure}", "", "", "");
        }
    }
    let passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
    println!(
        "\n{passed} passed, {} failed, in {:.0} s",
        outcomes.len() - passed,
        took.as_secs_f64()
    );
}
