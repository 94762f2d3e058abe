//! Deliberate defects. Each takes one safeguard away, so that a test can show that the simulation would notice.
//!
//! A build with debug assertions can plant one defect in a thread ([`plant`]); in any other build [`planted`] is `false`
//! by constant, and nothing of this is left.

/// A safeguard that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// A weight is raised before the intent stands in the status.
    RaisesBeforeItRecords,
    /// The status says that the weight is lower before the routes do.
    RecordsBeforeItLowers,
    /// Nobody looks whether requests still arrive before pods are scaled away.
    DoesNotListenForSilence,
    /// Whatever template the target has now is promoted.
    PromotesWhateverIsThere,
    /// The VirtualService is patched without a test of its version.
    PatchesRoutesUnguarded,
    /// The status is replaced whatever its version is.
    RecordsUnguarded,
    /// Missing data counts as a failed check.
    TakesBlindnessForBad,
    /// Missing data counts as a passed check.
    TakesBlindnessForGood,
    /// Samples that reach back before the canary's traffic count.
    JudgesOldSamples,
    /// What pods counted that are gone is taken for what the present ones do.
    JudgesPodsOfBefore,
    /// The terminal phase is written before it is true.
    ConcludesEarly,
    /// A rollback scales the canary away before it moves the traffic.
    ScalesBeforeItRoutes,
    /// The traffic moves to a primary that is not ready.
    DoesNotAwaitThePrimary,
    /// The Canary gets no finalizer.
    ForgetsTheFinalizer,
    /// On deletion the routes are merged before the target serves.
    HandsBackTooSoon,
    /// Late writes of an earlier epoch are not fenced off.
    DoesNotFence,
    /// A replica decides whether it holds the Lease or not.
    DecidesWithoutClaim,
    /// A step is left out.
    SkipsAStep,
    /// The weight rises without evidence of the present step.
    RaisesWithoutEvidence,
    /// A newer revision during an analysis is taken for the one that is analysed.
    OverlooksANewerRevision,
    /// A revert during an analysis is not noticed.
    OverlooksARevert,
    /// After a revert whatever template is there counts as the promoted one in another form.
    TakesAnyMark,
    /// A patch of the routes takes somebody else's field along.
    LosesAForeignField,
    /// A fact counts as told when telling it failed.
    ForgetsFacts,
    /// One object is left behind on deletion.
    LeavesAnObjectBehind,
    /// A failed promotion does not give the primary its old template back.
    DoesNotRestore,
    /// Pods that vanish under traffic are not noticed.
    OverlooksVanishedPods,
    /// Pods that are ready are taken to be reached.
    TakesReadyForReached,
    /// A deletion ships whatever template the target has.
    ShipsRejectedTemplates,
    /// Nobody looks again when a deadline is over.
    ForgetsDeadlines,
    /// What a new list does not name any more is taken to be there.
    KeepsWhatIsGone,
    /// An object that is older than the one known replaces it.
    TrustsAStaleCache,
    /// What somebody else undoes is written again at once, for ever.
    QuarrelsWithoutEnd,
    /// A deletion does not wait for writes whose outcome is unknown.
    DoesNotAwaitLateWrites,
    /// Times of the status that a clock which was set back has not reached yet are waited for.
    WaitsForTheFuture,
    /// Notes on a split that somebody undid are left behind on deletion.
    ForgetsItsNotes,
    /// Who asked for a release is forgotten with the Promotion.
    ForgetsWhoAsked,
}

impl Defect {
    /// Every defect.
    pub const ALL: [Defect; 37] = [
        Defect::RaisesBeforeItRecords,
        Defect::RecordsBeforeItLowers,
        Defect::DoesNotListenForSilence,
        Defect::PromotesWhateverIsThere,
        Defect::PatchesRoutesUnguarded,
        Defect::RecordsUnguarded,
        Defect::TakesBlindnessForBad,
        Defect::TakesBlindnessForGood,
        Defect::JudgesOldSamples,
        Defect::JudgesPodsOfBefore,
        Defect::ConcludesEarly,
        Defect::ScalesBeforeItRoutes,
        Defect::DoesNotAwaitThePrimary,
        Defect::ForgetsTheFinalizer,
        Defect::HandsBackTooSoon,
        Defect::DoesNotFence,
        Defect::DecidesWithoutClaim,
        Defect::SkipsAStep,
        Defect::RaisesWithoutEvidence,
        Defect::OverlooksANewerRevision,
        Defect::OverlooksARevert,
        Defect::TakesAnyMark,
        Defect::LosesAForeignField,
        Defect::ForgetsFacts,
        Defect::LeavesAnObjectBehind,
        Defect::DoesNotRestore,
        Defect::OverlooksVanishedPods,
        Defect::TakesReadyForReached,
        Defect::ShipsRejectedTemplates,
        Defect::ForgetsDeadlines,
        Defect::KeepsWhatIsGone,
        Defect::TrustsAStaleCache,
        Defect::QuarrelsWithoutEnd,
        Defect::DoesNotAwaitLateWrites,
        Defect::WaitsForTheFuture,
        Defect::ForgetsItsNotes,
        Defect::ForgetsWhoAsked,
    ];
}

#[cfg(debug_assertions)]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Plants a defect in this thread, or takes it out again.
#[cfg(debug_assertions)]
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

/// Whether this defect is planted in this thread.
#[cfg(debug_assertions)]
#[must_use]
pub fn planted(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}

/// Whether this defect is planted in this thread.
#[cfg(not(debug_assertions))]
#[must_use]
pub const fn planted(_: Defect) -> bool {
    false
}
