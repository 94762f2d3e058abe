//! The OpenAPI description.

use super::*;

#[test]
fn description_names_every_path_and_every_path_it_names_is_served() {
    run(async {
        let cluster = under_canary(10).await;
        let api = api(&cluster);
        let call = Call {
            path: "/v1/openapi.json".to_owned(),
            token: None,
            ..get("")
        };
        let (status, document) = send(&api, call).await;
        assert_eq!((status, &document["openapi"]), (StatusCode::OK, &json!("3.1.0")));
        let paths = document["paths"].as_object().unwrap();
        let mut operations = Vec::new();
        for (method, operation) in paths.values().flat_map(|methods| methods.as_object().unwrap()) {
            operations.push(operation["operationId"].as_str().unwrap());
            let responses = operation["responses"].as_object().unwrap();
            let described = |status: &str| responses.contains_key(status);
            assert!(described("400"), "{operation}");
            assert_eq!(
                (described("408"), described("413")),
                (method == "post", method == "post")
            );
        }
        operations.sort_unstable();
        // Clients are made of these.
        assert_eq!(
            operations.join(" "),
            "abortPromotion advancePromotion approveGateOfPromotion approveGateOfRevision getApproval getCanary \
             getCommand getExplanation getLog getPromotion getResult pausePromotion rejectGateOfPromotion \
             rejectGateOfRevision resumePromotion retry skipAnalysis startPromotion undo"
        );
        for (path, methods) in paths {
            for method in methods.as_object().unwrap().keys() {
                let filled = path
                    .replace("{namespace}", NS)
                    .replace("{canary}", "shop")
                    .replace("{id}", "p-none")
                    .replace("{name}", "c-none");
                let call = Call {
                    method: if method == "post" { "POST" } else { "GET" },
                    path: filled,
                    key: Some("key".to_owned()),
                    ..get("")
                };
                let (status, answer) = send(&api, call).await;
                let unserved = answer["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains("openapi.json"));
                assert!(
                    !unserved && status != StatusCode::METHOD_NOT_ALLOWED,
                    "{method} {path}: {answer}"
                );
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} is nowhere");
        }
    });
}
