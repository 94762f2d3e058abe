//! The health script for Argo CD, run by a Lua interpreter of the version that Argo CD has.

use mlua::{Lua, LuaSerdeExt, Table};
use serde_json::{Value, json};

const SCRIPT: &str = include_str!("../../examples/argocd/health.lua");

fn health(status: &Value) -> (String, String) {
    let lua = Lua::new();
    let object = json!({"metadata": {"name": "shop", "generation": 2}, "status": status});
    let object = lua.to_value(&object).unwrap();
    lua.globals().set("obj", object).unwrap();
    let told: Table = lua.load(SCRIPT).eval().unwrap();
    (told.get("status").unwrap(), told.get("message").unwrap())
}

#[test]
fn argo_cd_sees_how_a_canary_is() {
    let stalled = json!([{"type": "Stalled", "status": "True", "message": "no such host"}]);
    let table = [
        (json!({}), "Progressing"),
        (
            json!({"phase": "Initializing", "observedGeneration": 2}),
            "Progressing",
        ),
        (
            json!({"phase": "Succeeded", "observedGeneration": 1}),
            "Progressing",
        ),
        (json!({"phase": "Succeeded", "observedGeneration": 2}), "Healthy"),
        (json!({"phase": "Initialized"}), "Healthy"),
        (json!({"phase": "Failed", "message": "rolled back"}), "Degraded"),
        (
            json!({"phase": "Progressing", "hold": {"reason": "Paused", "message": "by mia"}}),
            "Suspended",
        ),
        (
            json!({"phase": "Waiting", "hold": {"reason": "AwaitingApproval", "message": "gate"}}),
            "Suspended",
        ),
        (
            json!({"phase": "Progressing", "hold": {"reason": "NoData", "message": "-"}}),
            "Progressing",
        ),
        (json!({"phase": "Initialized", "conditions": stalled}), "Degraded"),
    ];
    for (status, expected) in table {
        assert_eq!(health(&status).0, expected, "{status}");
    }
    assert_eq!(
        health(&json!({"phase": "Failed", "message": "rolled back"})).1,
        "rolled back"
    );
}
