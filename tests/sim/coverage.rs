//! What the campaign must have exercised: a fault, phase or hold that never came proves nothing.

use std::collections::BTreeMap;

/// What must have happened at least once.
const EXPECTED: [&str; 110] = [
    "refused 409",
    "refused 429",
    "refused 500",
    "refused 503",
    "request lost",
    "answer lost",
    "write late",
    "died before a write",
    "died after a write",
    "watch closed",
    "events late",
    "events merged",
    "events repeated",
    "LogIsCompacted",
    "ApiServerIsDown",
    "ReplicaIsCutOff",
    "ReplicaRestarts",
    "ShipAgain",
    "ReplicaIsAskedToStop",
    "MeshStops true",
    "PrimaryIsBarred",
    "PrimaryIsOpen",
    "HandBackUnreleased",
    "NoRoomForPods true",
    "NodeDrains",
    "PodHangs",
    "PodIsKilled",
    "CountersReset",
    "Prometheus: Down",
    "Prometheus: Empty",
    "Prometheus: NotANumber",
    "Prometheus: Slow",
    "Prometheus: Late",
    "Prometheus: Stale",
    "ship good",
    "ship errors60",
    "ship slow",
    "ship neverready",
    "ship crash",
    "ship dark",
    "Revert",
    "CanaryIsDeleted",
    "CanaryIsApplied",
    "Suspend true",
    "SkipAnalysis true",
    "Respecified",
    "TargetIsScaled",
    "PrimaryIsScaled",
    "TargetIsDeleted",
    "PrimaryIsDeleted",
    "RoutesAreDeleted",
    "ServiceIsDeleted",
    "TimeoutOfRoutes",
    "RouteIsAdded",
    "WeightsAreEdited",
    "promote, or reject",
    "promote, or queue",
    "promote, or supersede",
    "CalledOff",
    "Paused true",
    "GatesAreSettled true",
    "GatesAreSettled false",
    "Freeze true",
    "Initialized → Waiting",
    "Waiting → Progressing",
    "Progressing → WaitingPromotion",
    "WaitingPromotion → Promoting",
    "WaitingPromotion → Progressing",
    "held AwaitingApproval",
    "held Frozen",
    "held Paused",
    "Waiting → Terminating",
    "- → Initializing",
    "Initializing → Initialized",
    "Initialized → Progressing",
    "Succeeded → Progressing",
    "Failed → Progressing",
    "Progressing → Promoting",
    "Promoting → Progressing",
    "Promoting → Finalising",
    "Finalising → Succeeded",
    "Progressing → Failed",
    "Promoting → Failed",
    "Progressing → Initialized",
    "Progressing → Terminating",
    "Initialized → Terminating",
    "held NoData",
    "held MetricsUnavailable",
    "held Dark",
    "held Suspended",
    "held WorkloadNotReady",
    "held PrimaryNotReady",
    "held TrafficNotShifting",
    "held TargetNotFound",
    "held PromotionFailed",
    "Robot Routes 3",
    "Robot Service 3",
    "Robot Replicas 3",
    "Robot Restarts 9",
    "Routes refused",
    "Deployments refused",
    "Statuses refused",
    "Night true",
    "ScrapesAreLost",
    "ClockIsSetBack",
    "Prometheus: Lagging",
    "ship late",
    "held WriteRefused",
    "held TargetConflict",
    "held NotReached",
];

/// What was expected and never happened.
pub fn missing(tally: &BTreeMap<String, u64>) -> Vec<&'static str> {
    EXPECTED
        .into_iter()
        .filter(|what| !tally.contains_key(*what))
        .collect()
}

/// How often everything happened, in columns.
pub fn table(tally: &BTreeMap<String, u64>) -> String {
    let cells: Vec<String> = tally
        .iter()
        .map(|(what, count)| format!("{count:>8} {what:<30}"))
        .collect();
    let lines: Vec<String> = cells
        .chunks(3)
        .map(|line| line.concat().trim_end().to_owned())
        .collect();
    lines.join("\n")
}
