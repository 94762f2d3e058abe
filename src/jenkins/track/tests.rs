use proptest::prelude::*;
use serde_json::json;

use super::super::{BuildResult, Error, Item, ItemId};
use super::*;

fn in_life(session: &str, said: Said) -> Answer {
    Answer {
        session: Some(session.to_owned()),
        said,
    }
}

fn said(said: Said) -> Answer {
    in_life("s1", said)
}

fn after(run: Run, answers: impl IntoIterator<Item = Said>) -> Run {
    answers.into_iter().fold(run, |run, answer| run.saw(said(answer)))
}

fn ready() -> Said {
    Said::Ready { next_build: 5 }
}

fn nothing() -> Said {
    Said::Search(Search::None)
}

/// A run that found nothing, and may trigger.
fn clear() -> Run {
    after(Run::wanted(), [ready(), Said::NoItem, nothing()])
}

fn queued() -> Run {
    after(clear(), [Said::Triggered(Triggered::Queued(ItemId(7)))])
}

fn building() -> Run {
    after(
        queued(),
        [item(r#""cancelled":false,"executable":{"number":5,"url":"u"}"#)],
    )
}

fn item(fields: &str) -> Said {
    Said::Item(Item::read(format!(r#"{{"id":7,{fields}}}"#).as_bytes(), &[]).unwrap())
}

fn build(fields: &str) -> Build {
    Build::read(format!(r#"{{"number":5,"url":"u",{fields}}}"#).as_bytes()).unwrap()
}

fn lost_answer() -> Said {
    Said::Trouble(Error::Timeout)
}

/// The same run, written down and read by another process.
fn reread(run: &Run) -> Run {
    serde_json::from_value(serde_json::to_value(run).unwrap()).unwrap()
}

/// How many whole looks in vain come before a trigger; the run must be looking.
fn looks_before_trigger(mut run: Run) -> u32 {
    let mut looks = 0;
    while run.next() != Ask::Trigger {
        assert_eq!(run.next(), Ask::FindItem);
        run = run.saw(said(Said::NoItem));
        assert!(
            matches!(run.next(), Ask::FindBuild { floor: Some(5), .. }),
            "{run:?}"
        );
        run = run.saw(said(nothing()));
        looks += 1;
        assert!(looks < 100);
    }
    looks
}

#[test]
fn an_order_goes_its_way_to_a_result() {
    let run = Run::wanted();
    assert_eq!(run.next(), Ask::Job);
    let run = run.saw(said(ready()));
    assert_eq!((run.next(), run.is_waiting()), (Ask::FindItem, false));
    let run = run.saw(said(Said::NoItem));
    assert_eq!(
        run.next(),
        Ask::FindBuild {
            floor: None,
            item: None
        }
    );
    let run = run.saw(said(nothing()));
    assert_eq!((run.next(), run.is_waiting()), (Ask::Trigger, false));
    let run = run.saw(said(Said::Triggered(Triggered::Queued(ItemId(7)))));
    assert_eq!((run.next(), run.is_waiting()), (Ask::Item(ItemId(7)), true));
    let run = after(run, [item(r#""blocked":true"#), item(r#""cancelled":false"#)]);
    assert_eq!(run.next(), Ask::Item(ItemId(7)));
    let run = after(
        run,
        [item(r#""cancelled":false,"executable":{"number":5,"url":"u"}"#)],
    );
    assert_eq!((run.next(), run.is_waiting()), (Ask::Build(5), true));
    let run = after(
        run,
        [Said::Build(build(r#""building":true,"result":"UNSTABLE""#))],
    );
    assert_eq!(run.next(), Ask::Build(5));
    let run = after(
        run,
        [Said::Build(build(r#""building":false,"result":"UNSTABLE""#))],
    );
    let State::Ended { result, .. } = run.state() else {
        panic!("{run:?}")
    };
    assert_eq!(*result, BuildResult::Unstable);
    assert!(run.is_over());
}

/// Hudson and the first Jenkins list an item without its number.
#[test]
fn an_item_without_a_number_is_waited_for_and_triggered_once() {
    let unnumbered = || Said::Item(Item::read(br#"{"blocked":false,"buildable":true}"#, &[]).unwrap());
    let sent_back = after(clear(), [Said::Triggered(Triggered::SentBack)]);
    let mut run = sent_back;
    for _ in 0..3 * LOOKS {
        assert_eq!((run.next(), run.is_waiting()), (Ask::FindItem, true));
        run = run.saw(said(unnumbered()));
    }
    let found = Said::Search(Search::Found(build(r#""building":true,"result":null"#)));
    let run = after(run, [Said::NoItem, found]);
    assert_eq!(run.next(), Ask::Build(5));
    // Gone without a build: it was taken, so it was not refused.
    let mut gone = after(clear(), [Said::Triggered(Triggered::SentBack), unnumbered()]);
    while !gone.is_over() {
        gone = after(gone, [Said::NoItem, nothing()]);
    }
    assert_eq!(*gone.state(), State::Lost);
    // A second process finds it before it triggers.
    let second = after(Run::wanted(), [ready(), unnumbered()]);
    assert_eq!((second.next(), second.is_waiting()), (Ask::FindItem, true));
    // Called off meanwhile: it is stopped as soon as it is a build.
    let found = Said::Search(Search::Found(build(r#""building":true,"result":null"#)));
    let halted = after(second.withdrawn(), [unnumbered(), Said::NoItem, found]);
    assert_eq!(halted.next(), Ask::Stop(5));
}

#[test]
fn what_is_written_down_reads_well_and_stays_readable() {
    let text = |run: &Run| serde_json::to_value(run).unwrap();
    assert_eq!(text(&Run::wanted()), json!({"state": "wanted"}));
    assert_eq!(
        text(&queued()),
        json!({"state": "queued", "item": 7, "session": "s1", "floor": 5})
    );
    assert_eq!(
        text(&building().withdrawn()),
        json!({"state": "building", "number": 5, "url": "u", "halt": "due"})
    );
    for run in [
        Run::wanted(),
        queued(),
        building(),
        after(clear(), [lost_answer()]),
    ] {
        assert_eq!(reread(&run), run);
    }
}

#[test]
fn the_permission_to_trigger_does_not_survive_being_written_down() {
    assert_eq!(clear().next(), Ask::Trigger);
    assert_eq!(looks_before_trigger(reread(&clear())), LOOKS);
}

#[test]
fn a_trigger_without_an_answer_is_looked_for_before_it_is_repeated() {
    let run = clear().saw(said(lost_answer()));
    assert!(run.is_waiting());
    assert_eq!(looks_before_trigger(run.clone()), LOOKS);
    let found = after(run.clone(), [item(r#""blocked":true"#)]);
    assert_eq!(found.next(), Ask::Item(ItemId(7)));
    let running = Said::Search(Search::Found(build(r#""building":true"#)));
    let found = after(run, [Said::NoItem, nothing(), Said::NoItem, running]);
    assert_eq!(found.next(), Ask::Build(5));
}

#[test]
fn trouble_changes_nothing_but_the_permission_to_trigger() {
    let looking = clear().saw(said(lost_answer()));
    for run in [Run::wanted(), looking, queued(), building()] {
        assert_eq!(run.clone().saw(said(lost_answer())), run);
    }
}

#[test]
fn looks_begin_anew_when_jenkins_did() {
    let run = clear().saw(said(lost_answer()));
    let run = after(
        run,
        [Said::NoItem, nothing(), Said::NoItem, nothing(), Said::NoItem],
    );
    let run = run.saw(in_life("s2", nothing()));
    assert_eq!(run.next(), Ask::FindItem);
    let State::Looking(look) = run.state() else {
        panic!("{run:?}")
    };
    assert_eq!(look.left, LOOKS);
}

/// What becomes of an item that is not there any more, where the looks are answered in the life `session`.
fn vanished(session: Option<&str>) -> Run {
    let mut run = queued().saw(Answer {
        session: None,
        said: Said::NoItem,
    });
    assert_eq!(run.next(), Ask::FindItem);
    for _ in 0..LOOKS {
        for said in [Said::NoItem, nothing()] {
            assert!(!run.is_over() && run.next() != Ask::Trigger);
            let session = session.map(str::to_owned);
            run = run.saw(Answer { session, said });
        }
    }
    run
}

#[test]
fn an_item_that_vanished_is_triggered_again_only_if_jenkins_began_anew() {
    assert_eq!(vanished(Some("s2")).next(), Ask::Trigger);
    assert_eq!(*vanished(Some("s1")).state(), State::Lost);
    assert_eq!(*vanished(None).state(), State::Lost);
}

#[test]
fn an_item_that_vanished_is_looked_for_by_its_number_too() {
    let run = after(queued(), [Said::NoItem, Said::NoItem]);
    let (floor, item) = (Some(5), Some(ItemId(7)));
    assert_eq!(run.next(), Ask::FindBuild { floor, item });
    let done = build(r#""building":false,"result":"SUCCESS""#);
    let run = after(run, [Said::Search(Search::Found(done))]);
    assert!(matches!(run.state(), State::Ended { number: 5, .. }));
}

#[test]
fn a_search_that_could_not_be_finished_allows_no_trigger() {
    let mut run = clear().saw(said(lost_answer()));
    for _ in 0..LOOKS {
        run = after(run, [Said::NoItem, Said::Search(Search::Unfinished)]);
    }
    assert_eq!(*run.state(), State::Lost);
}

#[test]
fn sent_back_to_the_job_is_refused_if_nothing_is_found_and_taken_if_something_is() {
    let run = after(clear(), [Said::Triggered(Triggered::SentBack)]);
    let mut vain = run.clone();
    for _ in 0..LOOKS {
        vain = after(vain, [Said::NoItem, nothing()]);
    }
    let why = Refusal::Vetoed;
    assert_eq!(*vain.state(), State::Refused { why });
    let found = after(run, [item(r#""buildable":true"#)]);
    assert_eq!(found.next(), Ask::Item(ItemId(7)));
}

#[test]
fn refusals_and_cancellations_are_ends() {
    let why = Refusal::Undeclared {
        names: vec!["ID".to_owned()],
    };
    let unfit = after(Run::wanted(), [Said::Unfit(why.clone())]);
    assert_eq!(*unfit.state(), State::Refused { why: why.clone() });
    let refused = after(clear(), [Said::Triggered(Triggered::Refused(Refusal::Disabled))]);
    assert!(refused.is_over());
    let cancelled = after(queued(), [item(r#""cancelled":true"#)]);
    assert_eq!(*cancelled.state(), State::Cancelled);
    assert_eq!(reread(&unfit), unfit);
}

fn no_such_job() -> Said {
    Said::Unfit(Refusal::NoSuchJob)
}

fn triggered_nowhere() -> Said {
    Said::Triggered(Triggered::Refused(Refusal::NoSuchJob))
}

#[test]
fn a_job_that_is_missing_while_jenkins_restarts_is_no_verdict() {
    let run = (1..MISSES).fold(Run::wanted(), |run, _| {
        let run = run.saw(said(no_such_job()));
        assert_eq!((run.next(), run.is_waiting()), (Ask::Job, true));
        reread(&run)
    });
    let there = after(run.clone(), [ready()]);
    assert_eq!(there.next(), Ask::FindItem);
    let why = Refusal::NoSuchJob;
    assert_eq!(
        *after(run, [no_such_job()]).state(),
        State::Refused { why },
        "it stays away"
    );
}

#[test]
fn a_job_that_is_gone_when_it_is_triggered_is_looked_for_and_asked_for_again() {
    let mut run = after(clear(), [triggered_nowhere()]);
    for _ in 0..LOOKS {
        assert_eq!((run.next(), run.is_waiting()), (Ask::FindItem, true));
        run = after(reread(&run), [Said::NoItem, nothing()]);
    }
    assert_eq!((run.next(), run.is_waiting()), (Ask::Job, true));
    assert_eq!(*run.clone().withdrawn().state(), State::Cancelled);
    let run = after(run, [ready(), Said::NoItem, nothing()]);
    assert_eq!(run.next(), Ask::Trigger);
    let mut run = run;
    for _ in 2..MISSES {
        run = after(run, [triggered_nowhere()]);
        for _ in 0..LOOKS {
            run = after(run, [Said::NoItem, nothing()]);
        }
        run = after(run, [ready(), Said::NoItem, nothing()]);
        assert_eq!(run.next(), Ask::Trigger);
    }
    let why = Refusal::NoSuchJob;
    assert_eq!(
        *after(run, [triggered_nowhere()]).state(),
        State::Refused { why },
        "it has an end"
    );
}

#[test]
fn a_build_is_deleted_when_it_is_missing_several_times_in_a_row() {
    let seen = || Said::Build(build(r#""building":true"#));
    let missing = || (1..MISSES).map(|_| Said::NoBuild);
    let run = after(building(), missing().chain([seen()]).chain(missing()));
    assert_eq!(run.next(), Ask::Build(5));
    assert_eq!(*after(run, [Said::NoBuild]).state(), State::Lost);
}

#[test]
fn withdrawn_it_is_cancelled_or_stopped_wherever_it_is() {
    assert_eq!(*Run::wanted().withdrawn().state(), State::Cancelled);
    // Nothing was sent by this process, but perhaps by an earlier one.
    let run = clear().withdrawn();
    assert_eq!(run.next(), Ask::FindItem);
    let run = after(run, [item(r#""blocked":true"#)]);
    assert_eq!((run.next(), run.is_waiting()), (Ask::Cancel(ItemId(7)), false));
    let run = after(run, [Said::Halted(Halted::Gone)]);
    assert_eq!(run.next(), Ask::Item(ItemId(7)));
    let run = after(run, [item(r#""cancelled":false,"executable":{"number":5}"#)]);
    assert_eq!(run.next(), Ask::Stop(5));
    let run = after(reread(&run), [Said::Halted(Halted::Taken)]);
    assert_eq!((run.next(), run.is_waiting()), (Ask::Build(5), true));
    let run = after(
        run,
        [Said::Build(build(r#""building":false,"result":"ABORTED""#))],
    );
    assert!(matches!(
        run.state(),
        State::Ended {
            result: BuildResult::Aborted,
            ..
        }
    ));
}

#[test]
fn withdrawn_it_is_never_triggered() {
    let mut run = clear().saw(said(lost_answer())).withdrawn();
    for _ in 0..LOOKS {
        run = after(run, [Said::NoItem, nothing()]);
    }
    assert_eq!(*run.state(), State::Cancelled);
}

#[test]
fn a_stop_is_repeated_if_it_has_no_effect_and_not_if_it_is_denied() {
    let seen = || Said::Build(build(r#""building":true"#));
    let asked = after(building().withdrawn(), [lost_answer()]);
    let polled = after(asked, (0..HALT_AGAIN - 1).map(|_| seen()));
    assert_eq!(polled.next(), Ask::Build(5));
    assert_eq!(after(polled, [seen()]).next(), Ask::Stop(5));
    let denied = after(building().withdrawn(), [Said::Halted(Halted::Denied)]);
    assert_eq!(
        after(denied, (0..3 * HALT_AGAIN).map(|_| seen())).next(),
        Ask::Build(5)
    );
}

fn anything() -> impl Strategy<Value = Said> {
    let fields = prop::sample::select(vec![
        r#""blocked":true"#,
        r#""cancelled":true"#,
        r#""cancelled":false"#,
        r#""cancelled":false,"executable":{"number":5}"#,
    ]);
    let builds = prop::sample::select(vec![
        r#""building":true"#,
        r#""building":false"#,
        r#""building":false,"result":"SUCCESS""#,
    ]);
    let triggered = prop::sample::select(vec![
        Triggered::Queued(ItemId(7)),
        Triggered::Merged(ItemId(8)),
        Triggered::Untold,
        Triggered::SentBack,
        Triggered::Refused(Refusal::Disabled),
        Triggered::Refused(Refusal::NoSuchJob),
    ]);
    let halted = prop::sample::select(vec![Halted::Taken, Halted::Gone, Halted::Denied]);
    prop_oneof![
        4 => Just(Said::NoItem),
        4 => Just(nothing()),
        2 => Just(ready()),
        2 => Just(lost_answer()),
        1 => Just(no_such_job()),
        1 => Just(Said::NoBuild),
        1 => Just(Said::Search(Search::Unfinished)),
        1 => fields.prop_map(item),
        1 => builds.clone().prop_map(|b| Said::Build(build(b))),
        1 => builds.prop_map(|b| Said::Search(Search::Found(build(b)))),
        1 => triggered.prop_map(Said::Triggered),
        1 => halted.prop_map(Said::Halted),
    ]
}

proptest! {
    #[test]
    fn whatever_is_answered_nothing_is_triggered_twice_without_looking(
        answers in prop::collection::vec((anything(), 1_u8..3, prop::bool::weighted(0.2)), 0..80),
        withdrawn_at in 0_usize..200,
    ) {
        let mut run = Run::wanted();
        let mut looks = None;
        for (at, (answer, life, dies)) in answers.into_iter().enumerate() {
            if at == withdrawn_at {
                run = run.withdrawn();
            }
            if dies {
                run = reread(&run);
                prop_assert_ne!(run.next(), Ask::Trigger);
            }
            let ask = run.next();
            if run.is_over() {
                prop_assert_eq!(&run.clone().saw(said(answer.clone())), &run);
            }
            if let Ask::FindBuild { .. } = ask {
                looks = looks.map(|looks: u32| looks + u32::from(answer == nothing()));
            }
            if ask == Ask::Trigger {
                prop_assert!(looks.is_none_or(|looks| looks >= LOOKS), "{:?}", looks);
                prop_assert_eq!(run.halt(), Halt::None);
                looks = Some(0);
            }
            run = run.saw(in_life(&format!("s{life}"), answer));
        }
    }
}
