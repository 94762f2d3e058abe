//! Who we are: tokens, passwords and crumbs, and what comes of being nobody.

use bellwether::jenkins::{Error, ItemId, JobPath, Login, Triggered};
use bellwether_e2e::jenkins::{Queue, Settings};

use super::bench::{JOB, client, client_as, jenkins, jenkins_with, order, password, requests};

const CRUMB: &str = "GET /crumbIssuer/api/json 200";

fn path() -> JobPath {
    JobPath::parse(JOB).unwrap()
}

#[tokio::test]
async fn a_token_needs_no_crumb() {
    let jenkins = jenkins().await;
    let answer = client(&jenkins).trigger(&path(), &order().all_parameters()).await;
    assert_eq!(answer, Ok(Triggered::Queued(ItemId(1))));
    assert_eq!(jenkins.world().log.len(), 1);
}

#[tokio::test]
async fn a_password_comes_with_a_crumb_and_its_session_and_fetches_them_once() {
    let jenkins = jenkins().await;
    let client = client_as(&jenkins, password());
    client.trigger(&path(), &order().all_parameters()).await.unwrap();
    client.cancel(ItemId(1)).await.unwrap();
    assert_eq!(requests(&jenkins, CRUMB), 1);
    assert_eq!(requests(&jenkins, "POST"), 2);
}

#[tokio::test]
async fn a_crumb_that_is_out_of_date_is_fetched_again_once() {
    let mut jenkins = jenkins().await;
    let client = client_as(&jenkins, password());
    client.trigger(&path(), &order().all_parameters()).await.unwrap();
    jenkins.stop(Queue::Kept).await;
    jenkins.start_again().await.unwrap();
    jenkins.advance(std::time::Duration::from_secs(6));
    jenkins.world().log.clear();
    client.trigger(&path(), &order().all_parameters()).await.unwrap();
    let trigger = "POST /job/team/job/deploy/buildWithParameters";
    let log = jenkins.world().log.clone();
    assert_eq!(log[..2], [format!("{trigger} 403"), CRUMB.to_owned()]);
    assert!(
        log.len() == 3 && log[2].starts_with(trigger) && !log[2].ends_with("403"),
        "{log:?}"
    );
}

#[tokio::test]
async fn a_crumb_that_is_refused_again_is_an_error_after_one_repetition() {
    let jenkins = jenkins().await;
    let no = || {
        bellwether_e2e::jenkins::Fault::Answer(403, "No valid crumb was included in the request".to_owned())
    };
    jenkins.world().faults.extend([(0, no()), (2, no())]);
    let answer = client(&jenkins).trigger(&path(), &order().all_parameters()).await;
    assert_eq!(answer, Err(Error::Crumb));
    assert_eq!(jenkins.world().log.len(), 3);
}

#[tokio::test]
async fn where_crumbs_are_off_none_is_sent() {
    let settings = Settings {
        crumbs: false,
        ..Settings::default()
    };
    let jenkins = jenkins_with(settings).await;
    let client = client_as(&jenkins, password());
    let answer = client.trigger(&path(), &order().all_parameters()).await;
    assert_eq!(answer, Ok(Triggered::Queued(ItemId(1))));
    assert_eq!(requests(&jenkins, "GET /crumbIssuer/api/json 404"), 1);
}

#[tokio::test]
async fn nobody_gets_an_error_of_its_own() {
    let jenkins = jenkins().await;
    let nobody = Login::Token {
        user: "admin".to_owned(),
        token: "wrong".to_owned(),
    };
    let client = client_as(&jenkins, nobody);
    assert_eq!(client.job(&path()).await, Err(Error::Unauthorized));
    let answer = client.trigger(&path(), &order().all_parameters()).await;
    assert_eq!(answer, Err(Error::Unauthorized));
}

#[tokio::test]
async fn a_login_page_is_not_taken_for_an_answer() {
    let settings = Settings {
        basic: false,
        ..Settings::default()
    };
    let jenkins = jenkins_with(settings).await;
    let client = client(&jenkins);
    let answer = client.job(&path()).await;
    assert!(matches!(answer, Err(Error::LoginPage(_))), "{answer:?}");
    let answer = client.trigger(&path(), &order().all_parameters()).await;
    assert!(matches!(answer, Err(Error::LoginPage(_))), "{answer:?}");
    let answer = client.stop(&path(), 1).await;
    assert!(matches!(answer, Err(Error::LoginPage(_))), "{answer:?}");
    let form = "<form action=\"j_spring_security_check\">Sign in</form>".to_owned();
    let next = jenkins.world().log.len();
    let fault = bellwether_e2e::jenkins::Fault::Answer(200, form);
    jenkins.world().faults.insert(next, fault);
    let answer = client.job(&path()).await;
    assert!(matches!(answer, Err(Error::LoginPage(_))), "{answer:?}");
}
