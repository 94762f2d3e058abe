//! Would the campaign find a defect? Each deliberate one is planted, and must be found.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bellwether::{
    defect::{Defect, plant},
    sim::chaos::Tally,
};

use super::{ALONE, made::made_for, play::play, story::Story};

/// Plays in which a defect must show.
const PLAYS: u64 = 3000;

/// Seeds of which each has shown a defect before. They are played first: a hunt through all plays is needed only after a change of
/// what is drawn, and prints the seed that belongs here then.
const SHOWN_BY: &[(Defect, u64)] = &[
    (Defect::ConcludesEarly, 9),
    (Defect::DecidesWithoutClaim, 1),
    (Defect::DoesNotAwaitThePrimary, 0),
    (Defect::DoesNotListenForSilence, 363),
    (Defect::DoesNotRestore, 340),
    (Defect::ForgetsDeadlines, 1),
    (Defect::ForgetsFacts, 10),
    (Defect::ForgetsItsNotes, 387),
    (Defect::ForgetsTheFinalizer, 2),
    (Defect::HandsBackTooSoon, 2),
    (Defect::JudgesOldSamples, 34),
    (Defect::JudgesPodsOfBefore, 20_261_130_202_782),
    (Defect::LeavesAnObjectBehind, 2),
    (Defect::LosesAForeignField, 0),
    (Defect::OverlooksANewerRevision, 46),
    (Defect::OverlooksARevert, 423),
    (Defect::OverlooksVanishedPods, 39),
    (Defect::PatchesRoutesUnguarded, 31),
    (Defect::RaisesBeforeItRecords, 0),
    (Defect::RaisesWithoutEvidence, 0),
    (Defect::RecordsBeforeItLowers, 1),
    (Defect::RecordsUnguarded, 0),
    (Defect::ScalesBeforeItRoutes, 4),
    (Defect::ShipsRejectedTemplates, 17),
    (Defect::SkipsAStep, 0),
    (Defect::TakesAnyMark, 108),
    (Defect::TakesBlindnessForBad, 8),
    (Defect::TakesBlindnessForGood, 4),
    (Defect::TakesReadyForReached, 10),
    (Defect::TrustsAStaleCache, 0),
    (Defect::WaitsForTheFuture, 40),
];

/// The play that shows the defect: its seed, and what was broken.
fn hunt(defect: Defect) -> Option<(u64, String)> {
    let tally = Tally::default();
    let known = SHOWN_BY.iter().filter(|(shown, _)| *shown == defect);
    // FROM=… hunts on other seeds.
    let from = std::env::var("FROM")
        .ok()
        .and_then(|from| from.parse().ok())
        .unwrap_or(0);
    let seeds = known.map(|(_, seed)| *seed).chain(from..from + PLAYS);
    // What needs one thing at its instant shows sooner where little else happens.
    let drawn = seeds.flat_map(|seed| [Story::of(seed), Story::plain(seed)]);
    let mut stories = made_for(defect).into_iter().chain(drawn);
    let found = stories.find_map(|story| {
        plant(Some(defect));
        let broken = play(&story, &tally).err()?;
        // It counts only if the play goes well without the defect.
        plant(None);
        play(&story, &tally).ok()?;
        Some((story.seed, broken.what))
    });
    plant(None);
    found
}

#[test]
fn every_planted_defect_is_found() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // DEFECT=… hunts one only.
    let wanted = std::env::var("DEFECT").unwrap_or_default();
    let chosen = |defect: &&Defect| wanted.is_empty() || format!("{defect:?}") == wanted;
    let all: Vec<Defect> = Defect::ALL.iter().filter(chosen).copied().collect();
    assert!(!all.is_empty(), "DEFECT={wanted} is none");
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(defect) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = hunt(*defect);
                    found.lock().unwrap().insert(*defect, outcome);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    for (defect, outcome) in &found {
        match outcome {
            Some((seed, what)) => println!("{defect:?}: seed {seed}: {what}"),
            None => println!("{defect:?}: not found within {PLAYS} plays"),
        }
    }
    println!("{} defects, {:.0} s", found.len(), began.elapsed().as_secs_f64());
    let missed: Vec<_> = found.iter().filter(|(_, outcome)| outcome.is_none()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
