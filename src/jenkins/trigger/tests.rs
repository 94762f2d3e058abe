use super::*;

fn trigger(code: u16, location: &str, text: &str) -> Result<Triggered, Error> {
    let heard = Heard {
        code,
        location: Some(location).filter(|to| !to.is_empty()),
        text,
    };
    read_trigger(&heard, &JobPath::parse("team/deploy").unwrap(), &["jenkins"])
}

#[test]
fn a_new_and_an_existing_item_are_told_apart() {
    let at = "http://wrong:8080/queue/item/7/";
    assert_eq!(trigger(201, at, ""), Ok(Triggered::Queued(ItemId(7))));
    assert_eq!(trigger(303, at, ""), Ok(Triggered::Merged(ItemId(7))));
    assert_eq!(trigger(201, "", ""), Ok(Triggered::Untold));
}

#[test]
fn sent_back_to_the_job_is_neither_taken_nor_refused_and_to_a_login_page_is_trouble() {
    assert_eq!(trigger(302, ".", ""), Ok(Triggered::SentBack));
    let job = "http://ci/jenkins/job/team/job/deploy/";
    assert_eq!(trigger(302, job, ""), Ok(Triggered::SentBack));
    let created_as = "http://ci/jenkins/job/Team/job/Deploy/";
    assert_eq!(trigger(302, created_as, ""), Ok(Triggered::SentBack));
    let login = "http://ci/jenkins/login?from=%2Fjob%2Fteam%2Fjob%2Fdeploy";
    assert!(matches!(trigger(302, login, ""), Err(Error::LoginPage(_))));
    assert!(matches!(
        trigger(302, "https://elsewhere/", ""),
        Err(Error::Redirected(_))
    ));
    assert!(matches!(
        trigger(302, "http://ci/job/other/", ""),
        Err(Error::Redirected(_))
    ));
}

#[test]
fn every_refusal_has_its_name() {
    let reasons = |code: u16, text: &str| match trigger(code, "", text) {
        Ok(Triggered::Refused(why)) => why.reason(),
        other => panic!("{code}: {other:?}"),
    };
    assert_eq!(
        reasons(400, "<h1>deploy is not parameterized</h1>"),
        "NotParameterized"
    );
    assert_eq!(
        reasons(500, "IllegalStateException: deploy is not parameterized"),
        "NotParameterized"
    );
    assert_eq!(reasons(400, "Nothing is submitted"), "BadRequest");
    assert_eq!(
        reasons(403, "me is missing the Job/Build permission"),
        "Forbidden"
    );
    assert_eq!(reasons(404, ""), "NoSuchJob");
    assert_eq!(reasons(405, ""), "MethodNotAllowed");
    assert_eq!(reasons(409, ""), "Disabled");
}

#[test]
fn what_says_nothing_about_the_build_is_trouble() {
    assert_eq!(trigger(401, "", ""), Err(Error::Unauthorized));
    let crumb = "No valid crumb was included in the request";
    assert_eq!(trigger(403, "", crumb), Err(Error::Crumb));
    for code in [429, 500, 502, 503, 504] {
        assert!(trigger(code, "", "").unwrap_err().passes(), "{code}");
    }
    assert!(matches!(
        trigger(200, "", "<html>"),
        Err(Error::Status { code: 200, .. })
    ));
}

#[test]
fn a_stop_that_was_taken_is_told_from_one_that_was_not() {
    let halt = |code, location| {
        read_halt(&Heard {
            code,
            location,
            text: "",
        })
    };
    assert_eq!(halt(204, None), Ok(Halted::Taken));
    assert_eq!(halt(302, Some("http://ci/job/a/4/")), Ok(Halted::Taken));
    assert_eq!(halt(404, None), Ok(Halted::Gone));
    assert_eq!(halt(422, None), Ok(Halted::Denied));
    assert!(matches!(
        halt(302, Some("http://ci/login")),
        Err(Error::LoginPage(_))
    ));
    assert!(halt(503, None).unwrap_err().passes());
}
