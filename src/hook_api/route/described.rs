//! What the description says of every call.

use super::{CANARY, CARRIERS, Does, ORDERS, On, PROMOTION};
use crate::{
    api::Verb,
    explain::Explanation,
    hook_api::{
        body::{Abort, NewPromotion, Order, RevisionOrder, RevisionSettlement, Settlement},
        openapi::{Body, Operation, Parameter},
        view::{Accepted, CanaryView, OrderView, PromotionView},
    },
};

/// What is described of every call.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let orders = ORDERS.iter().map(|(on, path, id, summary, does)| {
        let (body, answers) = order_body(*on, *does);
        Operation::new("post", &format!("{}/{path}", on.path()), id, summary)
            .takes(body)
            .answers(&answers, Body::of::<Accepted>(true))
            .refuses(&[422])
    });
    let carriers = CARRIERS.iter().map(|(_, path, id, summary)| {
        let wait = Parameter::query("waitSeconds", "integer", "Seconds to wait at most, 0 to 25.");
        Operation::new("get", path, id, summary)
            .with(vec![wait])
            .answers(&[(200, "The order")], Body::of::<OrderView>(true))
    });
    [
        start_promotion(),
        get_promotion(),
        get_log(),
        get_result(),
        get_canary(),
        get_explanation(),
    ]
    .into_iter()
    .chain(orders)
    .chain(carriers)
    .collect()
}

fn start_promotion() -> Operation {
    let key = Parameter::header(
        "Idempotency-Key",
        "Makes the promotion unique: the same key is the same promotion.",
    );
    Operation::new(
        "post",
        &format!("{CANARY}/promotions"),
        "startPromotion",
        "Start a promotion",
    )
    .with(vec![key])
    .takes(Body::of::<NewPromotion>(true))
    .answers(
        &[(200, "It was started before"), (201, "It was created")],
        Body::of::<PromotionView>(true),
    )
    .refuses(&[409, 422, 423])
}

fn get_promotion() -> Operation {
    Operation::new(
        "get",
        PROMOTION,
        "getPromotion",
        "Get the state of a promotion, or wait for the next one",
    )
    .with(vec![
        Parameter::query("waitSeconds", "integer", "Seconds to wait at most, 0 to 25."),
        Parameter::query("afterSeq", "integer", "Wait until `seq` is above this one."),
    ])
    .answers(&[(200, "The state")], Body::of::<PromotionView>(true))
}

fn get_log() -> Operation {
    let text = "Text; X-Text-Size is the next start, X-More-Data says whether more will come";
    Operation::new(
        "get",
        &format!("{PROMOTION}/log"),
        "getLog",
        "Get the log of a promotion from a byte on",
    )
    .with(vec![Parameter::query("start", "integer", "The first byte.")])
    .answers(&[(200, text)], Body::text())
}

fn get_result() -> Operation {
    Operation::new(
        "get",
        &format!("{PROMOTION}/result"),
        "getResult",
        "Get the result by the status alone",
    )
    .answers(
        &[
            (200, "Promoted"),
            (202, "Not decided"),
            (409, "Rolled back or failed"),
            (410, "Aborted or superseded"),
        ],
        Body::of::<PromotionView>(true),
    )
}

fn get_canary() -> Operation {
    Operation::new("get", CANARY, "getCanary", "Get the state of a Canary")
        .answers(&[(200, "The state")], Body::of::<CanaryView>(true))
}

fn get_explanation() -> Operation {
    Operation::new(
        "get",
        &format!("{CANARY}/explanation"),
        "getExplanation",
        "Get what a Canary is doing and why, and what comes next",
    )
    .answers(&[(200, "The explanation")], Body::of::<Explanation>(true))
}

/// What an order takes, and how it is answered.
fn order_body(on: On, does: Does) -> (Body, Vec<(u16, &'static str)>) {
    let body = match (on, does) {
        (On::Promotion, Does::Command(Verb::Abort)) => Body::of::<Abort>(false),
        (On::Promotion, Does::Command(_)) => Body::of::<Order>(false),
        (On::Promotion, Does::Approval(_)) => Body::of::<Settlement>(true),
        (On::Canary, Does::Command(_)) => Body::of::<RevisionOrder>(true),
        (On::Canary, Does::Approval(_)) => Body::of::<RevisionSettlement>(true),
    };
    let taken = match does {
        Does::Command(_) => "It is ordered",
        Does::Approval(_) => "It is on record",
    };
    let mut answers = vec![(202, taken)];
    if matches!(on, On::Promotion) {
        answers.push((200, "It was over"));
    }
    (body, answers)
}
