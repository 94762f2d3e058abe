//! Making a story that breaks a rule smaller: fewer Canaries, fewer events, fewer faults, as long as the same rule breaks.

use std::time::{Duration, Instant};

use bellwether::sim::chaos::{Strike, Strikes, Tally};

use super::{
    play::{Broken, play},
    story::Story,
};

/// How long it may take.
const BUDGET: Duration = Duration::from_secs(10);

/// The smallest story found that breaks the same rule, with what came of it.
pub fn shrink(story: &Story, broken: Broken) -> (Story, Broken) {
    let mut search = Search {
        began: Instant::now(),
        rule: broken.rule().to_owned(),
        best: (story.clone(), broken),
    };
    let listed = Strikes::Listed(search.best.1.struck.clone());
    search.attempt(Story {
        strikes: listed,
        ..search.best.0.clone()
    });
    search.without_canaries();
    search.without_events();
    search.without_strikes();
    search.without_events();
    if search.best.0.replicas > 1 {
        let mut alone = search.best.0.clone();
        alone.replicas = 1;
        search.attempt(alone);
    }
    search.best
}

struct Search {
    began: Instant,
    rule: String,
    best: (Story, Broken),
}

impl Search {
    /// Whether this story breaks the rule as well; then it is the best so far.
    fn attempt(&mut self, story: Story) -> bool {
        if self.began.elapsed() > BUDGET {
            return false;
        }
        match play(&story, &Tally::default()) {
            Err(broken) if broken.rule() == self.rule => {
                self.best = (story, broken);
                true
            }
            _ => false,
        }
    }

    fn without_canaries(&mut self) {
        // The last one only: names and chance of the others stay.
        while self.best.0.setups.len() > 1 {
            let mut fewer = self.best.0.clone();
            fewer.setups.pop();
            let left = fewer.setups.len();
            fewer.events.retain(|event| event.canary < left);
            if !self.attempt(fewer) {
                return;
            }
        }
    }

    fn without_events(&mut self) {
        let mut chunk = self.best.0.events.len();
        while chunk > 0 {
            let mut start = 0;
            while start < self.best.0.events.len() {
                let mut fewer = self.best.0.clone();
                let end = (start + chunk).min(fewer.events.len());
                let gap = fewer.events.drain(start..end).map(|event| event.after).sum();
                // Time goes on as before.
                if let Some(next) = fewer.events.get_mut(start) {
                    next.after += gap;
                }
                if !self.attempt(fewer) {
                    start += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn without_strikes(&mut self) {
        let Strikes::Listed(all) = self.best.0.strikes.clone() else {
            return;
        };
        let mut kept: Vec<Strike> = all;
        let mut chunk = kept.len();
        while chunk > 0 {
            let mut start = 0;
            while start < kept.len() {
                let mut fewer = kept.clone();
                fewer.drain(start..(start + chunk).min(kept.len()));
                let story = Story {
                    strikes: Strikes::Listed(fewer.clone()),
                    ..self.best.0.clone()
                };
                if self.attempt(story) {
                    kept = fewer;
                } else {
                    start += chunk;
                }
            }
            chunk /= 2;
        }
    }
}

/// The story and what came of it, for a person.
pub fn tell(story: &Story, broken: &Broken) -> String {
    let strikes = match &story.strikes {
        Strikes::Listed(strikes) => strikes
            .iter()
            .map(|s| format!("request {}: {:?}", s.request, s.fault))
            .collect::<Vec<_>>()
            .join(", "),
        Strikes::ByChance(rate) => format!("by chance, {rate} of the requests"),
    };
    let setups: Vec<String> = story.setups.iter().map(|setup| format!("  {setup:?}")).collect();
    format!(
        "{}\n  replay: SEED={} make sim\n  replicas {}, faults: {strikes}\n{}\n    {}",
        broken.what,
        story.seed,
        story.replicas,
        setups.join("\n"),
        broken.timeline.join("\n    ")
    )
}
