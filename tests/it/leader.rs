//! A leader that is asked to stop gives the Lease back, at whatever moment that is.

use std::{sync::Arc, time::Duration};

use bellwether::{
    clock::Clock,
    jitter::Jitter,
    leader::{self, Candidate, Leadership, election::Timing},
    sim::{
        api_server::{
            ApiServer, Delivery, Fault, Faults, Key, Kind, Witness, request::Verb, store::Change,
            store::Store,
        },
        clock::SimClock,
    },
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::shared::shop::run;

const NAMESPACE: &str = "bellwether-system";
const NAME: &str = "bellwether-leader-election";
/// The leader writes the Lease when it takes it, and then renews it.
const RENEWAL: usize = 3;

/// When the leader is asked to stop.
#[derive(Clone, Copy, PartialEq)]
enum Moment {
    /// Its renewal is on its way.
    Asked,
    /// Its renewal is carried out, the answer on its way.
    Written,
}

/// Asks the leader to stop at its `RENEWAL`-th write.
struct Stopper {
    moment: Moment,
    asked: usize,
    written: usize,
    stop: CancellationToken,
}

impl Witness for Stopper {
    fn saw(&mut self, _: &Change, _: &Store) {
        self.written += 1;
        if self.moment == Moment::Written && self.written == RENEWAL {
            self.stop.cancel();
        }
    }

    fn asked(&mut self, _: &'static str, verb: Verb, _: Kind, _: &Store) {
        self.asked += usize::from(verb.writes());
        if self.moment == Moment::Asked && self.asked == RENEWAL {
            self.stop.cancel();
        }
    }
}

/// What goes wrong with the writes of the Lease, by their number from 1.
struct AtWrite(usize, Fault, usize);

impl Faults for AtWrite {
    fn strike(&mut self, _: &'static str, verb: Verb, _: Kind) -> Fault {
        self.2 += usize::from(verb.writes());
        if verb.writes() && self.2 == self.0 {
            self.1
        } else {
            Fault::None
        }
    }

    fn latency(&mut self, _: &'static str) -> Duration {
        Duration::from_millis(200)
    }

    fn deliver(&mut self, _: &'static str, _: Kind) -> Delivery {
        Delivery::after(Duration::ZERO)
    }
}

/// Leads until `moment`, and returns who holds the Lease in the end, and how long that took.
fn stopped_at(moment: Moment, write: usize, fault: Fault) -> (String, Duration) {
    run(async {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::start());
        let server = ApiServer::new(clock.clone());
        let stop = CancellationToken::new();
        server.set_faults(Box::new(AtWrite(write, fault, 0)));
        server.add_witness(Box::new(Stopper {
            moment,
            asked: 0,
            written: 0,
            stop: stop.clone(),
        }));
        let (leadership, claim) = Leadership::elected("one", clock.clone());
        let candidate = Candidate {
            namespace: NAMESPACE.to_owned(),
            name: NAME.to_owned(),
            identity: "one".to_owned(),
            timing: Timing::default(),
            listed: Arc::new(Notify::new()),
        };
        candidate.listed.notify_one();
        let client = server.client("one", CancellationToken::new());
        let jitter = Arc::new(Jitter::seeded(1));
        let holding = leader::hold(client, candidate, clock, jitter, claim, stop.clone());
        let holding = tokio::spawn(holding);
        leadership.acquired().await;
        stop.cancelled().await;
        let asked = Instant::now();
        holding.await.unwrap();
        assert!(!leadership.leads());
        let key = Key::new(Kind::LEASE, NAMESPACE, NAME);
        let lease = server.read(|store| store.get(&key).cloned()).unwrap();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        (holder.to_owned(), asked.elapsed())
    })
}

#[test]
fn lease_is_given_back_at_once_even_while_it_is_renewed() {
    for moment in [Moment::Asked, Moment::Written] {
        let (holder, took) = stopped_at(moment, 0, Fault::None);
        assert_eq!(holder, "");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn lease_is_given_back_whatever_becomes_of_one_write() {
    let faults = [
        Fault::Refuse(503),
        Fault::Refuse(409),
        Fault::LoseRequest,
        Fault::LoseAnswer,
    ];
    for fault in faults {
        for write in [RENEWAL, RENEWAL + 1] {
            let (holder, took) = stopped_at(Moment::Asked, write, fault);
            assert_eq!(holder, "", "write {write}: {fault:?}");
            assert!(
                took < Duration::from_secs(11),
                "write {write}: {fault:?}: {took:?}"
            );
        }
    }
}
