//! Death at every moment: of us after each request, of Jenkins before, during and after each. One mark, one build.

use std::time::Duration;

use bellwether::jenkins::{BuildResult, Run, Said};
use bellwether_e2e::jenkins::{FakeJenkins, Fault, Queue, Settings};

use super::bench::{JOB, PAUSE, client, jenkins_with, order, reread, result, traces};

/// What happens at one question.
#[derive(Clone, Debug)]
enum What {
    /// We die before we could write the answer down.
    WeDieUnwritten,
    /// We die with the answer written down.
    WeDieWritten,
    /// Something goes wrong with the request; with `true` we die too.
    Fault(Fault, bool),
    /// Jenkins is ended after it answered; with `true` we die too.
    Restart(bool),
}

/// What happens, at which question, and what Jenkins remembers of its queue if it ends.
#[derive(Clone, Debug)]
struct Plan {
    at: usize,
    what: What,
    queue: Queue,
}

/// Follows an order to its end while `plan` happens, and tells how many questions that took.
async fn play(jenkins: &mut FakeJenkins, plan: &Plan) -> (Run, usize) {
    let (order, mut us) = (order(), client(jenkins));
    // What is written down when the next question is asked; a process of ours knows a little more.
    let mut run = Run::wanted();
    let mut refused = 0;
    for asked in 0..300 {
        if run.is_over() {
            return (run, asked);
        }
        let now = (asked == plan.at).then(|| plan.what.clone());
        if let Some(What::Fault(fault, _)) = &now {
            let mut world = jenkins.world();
            let next = world.log.len();
            world.faults.insert(next, fault.clone());
        }
        let answer = us.ask(&order, &run.next()).await;
        let trouble = matches!(answer.said, Said::Trouble(_));
        let before = run.clone();
        run = run.saw(answer);
        if let Some(What::WeDieUnwritten | What::Fault(_, true) | What::Restart(true)) = now {
            (run, us) = (reread(&before), client(jenkins));
        }
        if let Some(What::WeDieWritten) = now {
            (run, us) = (reread(&run), client(jenkins));
        }
        let restarts = matches!(now, Some(What::Restart(_)));
        if restarts || refused == 0 && jenkins.is_down() {
            jenkins.stop(plan.queue).await;
        }
        if jenkins.is_down() {
            refused += 1;
            if refused == 3 {
                jenkins.start_again().await.unwrap();
            }
        }
        if run.is_waiting() || trouble {
            jenkins.advance(PAUSE);
        }
    }
    panic!("{plan:?}: it does not end: {run:?}");
}

/// A Jenkins that takes its time, so that every state lasts for a question.
async fn slow() -> FakeJenkins {
    let settings = Settings {
        stage: PAUSE,
        gap: PAUSE,
        closing: PAUSE,
        ..Settings::default()
    };
    let jenkins = jenkins_with(settings).await;
    jenkins.world().job(JOB).script.takes = Some(3 * PAUSE);
    jenkins
}

async fn undisturbed() -> usize {
    let plan = Plan {
        at: usize::MAX,
        what: What::WeDieWritten,
        queue: Queue::Kept,
    };
    let (run, asked) = play(&mut slow().await, &plan).await;
    assert_eq!(result(&run), BuildResult::Success);
    assert!(asked > 8, "only {asked} questions");
    asked
}

/// Plays `what` at every question, and demands one build each time.
async fn everywhere(what: impl IntoIterator<Item = What>, queues: &[Queue]) {
    let (length, mut played) = (undisturbed().await, 0);
    for what in what {
        for at in 0..=length {
            for queue in queues.iter().copied() {
                let what = what.clone();
                let plan = Plan { at, what, queue };
                let mut jenkins = slow().await;
                let (run, _) = play(&mut jenkins, &plan).await;
                // What is still on its way arrives.
                jenkins.advance(Duration::from_secs(60));
                assert_eq!(
                    traces(&jenkins, &order()),
                    (1, 0),
                    "{plan:?}: {:#?}",
                    jenkins.world().log
                );
                assert_eq!(result(&run), BuildResult::Success, "{plan:?}");
                played += 1;
            }
        }
    }
    println!("{played} runs, {length} questions each if nothing happens");
}

#[tokio::test]
async fn we_die_after_every_request() {
    everywhere([What::WeDieUnwritten, What::WeDieWritten], &[Queue::Kept]).await;
}

#[tokio::test]
async fn requests_and_answers_are_lost_late_or_refused() {
    let faults = [
        Fault::LoseRequest,
        Fault::LoseAnswer,
        Fault::Late(Duration::from_secs(1)),
        Fault::Late(Duration::from_secs(3)),
        Fault::Late(Duration::from_secs(5)),
        Fault::Answer(502, "Bad Gateway".to_owned()),
        Fault::Answer(200, "<html>maintenance</html>".to_owned()),
    ];
    let both = faults
        .into_iter()
        .flat_map(|fault| [false, true].map(|dies| What::Fault(fault.clone(), dies)));
    everywhere(both, &[Queue::Kept]).await;
}

#[tokio::test]
async fn jenkins_dies_before_during_and_after_every_request() {
    let both = [false, true];
    let dies = [Fault::DieBefore, Fault::DieAfter].into_iter();
    let faults = dies.flat_map(|fault| both.map(|we| What::Fault(fault.clone(), we)));
    let restarts = both.map(What::Restart);
    everywhere(faults.chain(restarts), &[Queue::Kept, Queue::Lost]).await;
}

#[tokio::test]
async fn a_request_that_hangs_is_looked_for() {
    let plan = Plan {
        at: 3,
        what: What::Fault(Fault::Hang, false),
        queue: Queue::Kept,
    };
    let mut jenkins = slow().await;
    let (run, _) = play(&mut jenkins, &plan).await;
    assert_eq!(result(&run), BuildResult::Success);
    assert_eq!(traces(&jenkins, &order()), (1, 0));
}
