//! What people, nodes, robots and backends do to a play.

mod actions; // how each is done

use bellwether::sim::traffic::{Barrier, metrics::Trouble};
use chrono::TimeDelta;

use super::{play::Play, robot::Insists};

pub use actions::{image_of, order};

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    Ship(&'static str),
    ShipAgain,
    Revert,
    TimeoutOfRoutes(u8),
    RouteIsAdded,
    WeightsAreEdited(i64),
    RoutesAreDeleted,
    ServiceIsDeleted,
    CanaryIsDeleted,
    CanaryIsApplied,
    Suspend(bool),
    SkipAnalysis(bool),
    Respecified(i64),
    TargetIsScaled(u32),
    PrimaryIsScaled(u32),
    TargetIsDeleted,
    PrimaryIsDeleted,
    Trouble(Trouble),
    CountersReset,
    PrometheusForgets,
    PodIsKilled(u64),
    PodHangs(u64),
    NodeDrains(u64),
    NoRoomForPods(bool),
    MeshStops(bool),
    PrimaryIsBarred(Barrier),
    PrimaryIsOpen,
    ReplicaRestarts(usize),
    ReplicaIsAskedToStop(usize),
    ReplicaIsCutOff(usize),
    ApiServerIsDown,
    ApiServerIsBack,
    LogIsCompacted,
    Promote(&'static str, &'static str),
    CalledOff,
    /// Whoever asked takes the objects away that they asked with.
    PromotionsAreDeleted,
    Retried,
    Paused(bool),
    GatesAreSettled(bool),
    Freeze(bool),
    /// A robot sets this back every so many seconds from now on.
    Robot(Insists, i64),
    RobotsRest,
    /// Writes of this kind are refused with this status, whoever's they are.
    WritesAreRefused(Refused, u16),
    WritesAreAccepted,
    /// Nobody calls.
    Night(bool),
    /// So many of a hundred scrapes of a pod are lost.
    ScrapesAreLost(u8),
    /// The clock of a replica is set back by so many seconds.
    ClockIsSetBack(usize, i64),
}

/// What is not to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Routes,
    Services,
    Deployments,
    Statuses,
    DestinationRules,
}

const RELEASES: [&str; 9] = [
    "good",
    "good",
    "good",
    "good",
    "errors60",
    "slow",
    "neverready",
    "crash",
    "dark",
];

impl Happening {
    /// One by chance.
    pub fn draw(rng: &mut fastrand::Rng, replicas: usize) -> Happening {
        use Happening as H;
        let troubles = [
            Trouble::Down,
            Trouble::Empty,
            Trouble::NotANumber,
            Trouble::Slow,
            Trouble::Late,
        ];
        match rng.u8(..78) {
            0..=23 => H::Ship(RELEASES[rng.usize(..RELEASES.len())]),
            24 | 25 => H::ShipAgain,
            26 | 27 => H::Revert,
            28 => H::TimeoutOfRoutes(rng.u8(1..60)),
            29 => H::RouteIsAdded,
            30 => H::WeightsAreEdited(rng.i64(0..=100)),
            31 => H::RoutesAreDeleted,
            32 => H::ServiceIsDeleted,
            33 => H::CanaryIsDeleted,
            34 | 35 => H::CanaryIsApplied,
            36 => H::Suspend(true),
            37 => H::Suspend(false),
            38 => H::SkipAnalysis(rng.bool()),
            39 => H::Respecified(rng.i64(1..4)),
            40 => H::TargetIsScaled(rng.u32(0..4)),
            41 => H::PrimaryIsScaled(rng.u32(1..5)),
            42 => H::TargetIsDeleted,
            43 => H::PrimaryIsDeleted,
            44 | 45 => H::Trouble(match troubles[rng.usize(..troubles.len())] {
                Trouble::Late if rng.clone().u8(..4) != 0 => Trouble::Stale,
                trouble => trouble,
            }),
            46 | 47 => H::Trouble(Trouble::None),
            48 if rng.bool() => H::CountersReset,
            48 => H::PrometheusForgets,
            49 => H::PodIsKilled(rng.u64(..)),
            50 => H::PodHangs(rng.u64(..)),
            51 => H::NodeDrains(rng.u64(..)),
            52 => H::NoRoomForPods(true),
            53 => H::NoRoomForPods(false),
            54 => H::MeshStops(true),
            55 => H::MeshStops(false),
            56 => H::ReplicaIsAskedToStop(rng.usize(..replicas)),
            57 | 58 => H::ReplicaRestarts(rng.usize(..replicas)),
            59 | 60 => H::ReplicaIsCutOff(rng.usize(..replicas)),
            61 => H::ApiServerIsDown,
            62 => H::ApiServerIsBack,
            63 => H::LogIsCompacted,
            64..=67 => {
                let conflict = ["reject", "queue", "supersede"][rng.usize(..3)];
                H::Promote(RELEASES[rng.usize(..RELEASES.len())], conflict)
            }
            // From a copy: what is drawn afterwards stays as it was.
            68 => match rng.clone().u8(..4) {
                0 => H::PromotionsAreDeleted,
                1 => H::Retried,
                _ => H::CalledOff,
            },
            69 => H::Paused(rng.bool()),
            70..=73 => H::GatesAreSettled(rng.u8(..6) != 0),
            74 => H::Freeze(true),
            75 if rng.bool() => H::PrimaryIsBarred(Barrier::Denies),
            75 => H::PrimaryIsBarred(Barrier::Drops),
            76 => H::PrimaryIsOpen,
            _ => H::Freeze(false),
        }
    }

    /// One more by chance, of those that last for a while.
    pub fn draw_lasting(rng: &mut fastrand::Rng, replicas: usize) -> Happening {
        use Happening as H;
        let things = [Insists::Routes, Insists::Service, Insists::Replicas];
        // Self-healing at once, one that polls, and a reconciliation of every few minutes.
        let pauses = [3, 3, 10, 180];
        let refused = [
            Refused::Routes,
            Refused::Routes,
            Refused::Services,
            Refused::Deployments,
            Refused::Statuses,
            Refused::DestinationRules,
        ];
        match rng.u8(..20) {
            0..=4 => H::Robot(
                things[rng.usize(..things.len())],
                pauses[rng.usize(..pauses.len())],
            ),
            5 => H::RobotsRest,
            6..=8 => H::WritesAreRefused(refused[rng.usize(..refused.len())], [403, 500][rng.usize(..2)]),
            9 => H::WritesAreAccepted,
            10 => H::Night(true),
            11 => H::Night(false),
            12 => H::ScrapesAreLost([0, 10, 30, 60][rng.usize(..4)]),
            13 => H::Trouble(Trouble::Lagging),
            16 | 17 => H::Robot(Insists::Restarts, [9, 9, 25][rng.usize(..3)]),
            14 | 15 => H::ClockIsSetBack(
                rng.usize(..replicas),
                [rng.i64(1..60), rng.i64(60..7200)][rng.usize(..2)],
            ),
            _ => H::Ship("late"),
        }
    }

    /// Its name, for the tally.
    pub fn name(&self) -> String {
        match self {
            Happening::Ship(preset) => format!("ship {preset}"),
            Happening::Promote(_, conflict) => format!("promote, or {conflict}"),
            Happening::Trouble(trouble) => format!("Prometheus: {trouble:?}"),
            Happening::Robot(insists, every) => format!("Robot {insists:?} {every}"),
            Happening::WritesAreRefused(what, _) => format!("{what:?} refused"),
            Happening::Suspend(on)
            | Happening::MeshStops(on)
            | Happening::NoRoomForPods(on)
            | Happening::Night(on)
            | Happening::Paused(on)
            | Happening::GatesAreSettled(on)
            | Happening::Freeze(on)
            | Happening::SkipAnalysis(on) => {
                let name = format!("{self:?}");
                format!("{} {on}", name.split('(').next().unwrap_or_default())
            }
            other => {
                let name = format!("{other:?}");
                name.split('(').next().unwrap_or_default().to_owned()
            }
        }
    }

    /// Whether it may cost requests whatever the controller does.
    fn disturbs(&self, recreate: bool, lacks_surge: bool) -> bool {
        use Happening as H;
        match self {
            H::Ship(preset) | H::Promote(preset, _) => recreate || ["crash", "dark"].contains(preset),
            H::WeightsAreEdited(_)
            // Until pods are behind what it insists on, callers find nobody each time.
            | H::Robot(Insists::Service, _)
            | H::TargetIsScaled(0)
            | H::ServiceIsDeleted
            | H::TargetIsDeleted
            | H::PrimaryIsDeleted
            | H::PodIsKilled(_)
            | H::PodHangs(_)
            | H::NodeDrains(_) => true,
            H::Revert | H::Robot(..) => recreate,
            // Of few pods those that may be away may be all.
            H::TargetIsScaled(_) | H::PrimaryIsScaled(_) => recreate || lacks_surge,
            _ => false,
        }
    }

    /// Lets it happen to the `n`-th Canary. What the API server refuses did not happen.
    pub fn happen(&self, play: &mut Play, n: usize) {
        let recreate = play.setups()[n].recreate;
        // Proxies that are told nothing cannot follow pods that are replaced.
        let replaces = matches!(
            self,
            Happening::Ship(_)
                | Happening::ShipAgain
                | Happening::Promote(..)
                | Happening::Revert
                | Happening::TargetIsScaled(_)
                | Happening::PrimaryIsScaled(_)
        );
        if replaces && !play.cluster.world().traffic.told {
            play.disturbed = true;
        }
        if *self == Happening::MeshStops(true) && play.replaces_pods() {
            play.disturbed = true;
        }
        let set_up = play.phase(n).is_some_and(|phase| phase != "Initializing");
        let again = *self == Happening::ShipAgain
            && play
                .shipped
                .get(&n)
                .is_some_and(|image| recreate || image.contains("crash") || image.contains("dark"));
        if again
            || self.disturbs(recreate, play.setups()[n].lacks_surge())
            || (*self == Happening::TargetIsScaled(0) && !set_up)
        {
            play.disturbed = true;
        }
        if matches!(self, Happening::TargetIsScaled(_)) {
            play.barred.remove(&n);
        }
        if !self.to_objects(play, n) {
            self.to_the_world(play, n);
        }
    }
}

/// How long a second is.
pub const SECOND: TimeDelta = TimeDelta::seconds(1);
