//! A real Hudson: the last release before the project took the name Jenkins, and the only server of this family that a
//! package registry has. It answers as the oldest cores do: it sends back to the job instead of telling the item of the
//! queue, whose items have no number.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::Process;

const USER: &str = "ci";
const PASSWORD: &str = "s3cret";
/// A Java server on a busy machine.
const START: Duration = Duration::from_secs(90);
/// Whoever logs in may do everything, and every POST needs a crumb.
const SECURED: &str = r#"
def hudson = hudson.model.Hudson.instance
def realm = new hudson.security.HudsonPrivateSecurityRealm(false)
hudson.setSecurityRealm(realm)
realm.createAccount("ci", "s3cret")
hudson.setAuthorizationStrategy(new hudson.security.FullControlOnceLoggedInAuthorizationStrategy())
hudson.setCrumbIssuer(new hudson.security.csrf.DefaultCrumbIssuer(false))
hudson.save()
println "secured"
"#;

/// A Hudson that runs on loopback.
pub struct Hudson {
    process: Process,
    http: reqwest::Client,
    url: String,
    home: PathBuf,
}

impl Hudson {
    /// Starts one at `port` that knows one user and demands crumbs; its home and log are in `folder`.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start(folder: &Path, port: u16) -> Result<Self> {
        let home = folder.join("hudson");
        std::fs::create_dir_all(&home)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/hudson.sh");
        let hudson = Self {
            process: Process::new("hudson", script, folder)
                .args(["run", &port.to_string()])
                .arg(&home),
            http: reqwest::Client::new(),
            url: format!("http://127.0.0.1:{port}"),
            home,
        };
        hudson.start_again().await?;
        let answer = hudson
            .http
            .post(format!("{}/scriptText", hudson.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(
                form_urlencoded::Serializer::new(String::new())
                    .append_pair("script", SECURED)
                    .finish(),
            );
        let said = answer.send().await?.error_for_status()?.text().await?;
        ensure!(said.trim() == "secured", "Hudson says {said}");
        Ok(hudson)
    }

    /// Starts it after it was killed.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start_again(&self) -> Result<()> {
        self.process.start().await?;
        let up = async || {
            let answer = self.http.get(format!("{}/login", self.url)).send().await?;
            answer.error_for_status().map(drop).map_err(Into::into)
        };
        self.process.ready(START, up).await
    }

    /// Ends it as a crash would.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// As the controller's `--jenkins-file` names it, for one namespace.
    #[must_use]
    pub fn entry(&self, namespace: &str) -> Value {
        serde_json::json!({"name": "ci", "url": self.url, "user": USER, "password": PASSWORD,
            "namespaces": [namespace]})
    }

    /// Adds a job that takes `parameters` and runs `shell`, any number of times at once.
    ///
    /// # Errors
    /// If Hudson refuses it.
    pub async fn add_job(&self, name: &str, parameters: &[&str], shell: &str) -> Result<()> {
        let definition = |name: &&str| {
            format!(
                "<hudson.model.StringParameterDefinition><name>{name}</name><description/><defaultValue/>\
                 </hudson.model.StringParameterDefinition>"
            )
        };
        let definitions: String = parameters.iter().map(definition).collect();
        let xml = format!(
            "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>{definitions}\
             </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties>\
             <scm class=\"hudson.scm.NullSCM\"/><canRoam>true</canRoam><disabled>false</disabled>\
             <concurrentBuild>true</concurrentBuild>\
             <builders><hudson.tasks.Shell><command>{shell}</command></hudson.tasks.Shell></builders>\
             <publishers/><buildWrappers/></project>"
        );
        let path = format!("/createItem?name={name}");
        self.post(&path, "application/xml", xml).await
    }

    /// Triggers a build, as a person does.
    ///
    /// # Errors
    /// If Hudson refuses it.
    pub async fn build(&self, job: &str, parameters: &[(&str, &str)]) -> Result<()> {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let path = format!("/job/{job}/buildWithParameters?delay=0sec");
        self.post(&path, "application/x-www-form-urlencoded", form).await
    }

    /// The builds of a job, the newest first.
    ///
    /// # Errors
    /// If Hudson does not answer.
    pub async fn builds(&self, job: &str) -> Result<Vec<Value>> {
        let tree = "builds[number,building,result,actions[parameters[name,value]]]";
        let answer = self.get(&format!("/job/{job}/api/json?tree={tree}")).await?;
        Ok(answer["builds"].as_array().cloned().unwrap_or_default())
    }

    /// The items that wait in its queue.
    ///
    /// # Errors
    /// If Hudson does not answer.
    pub async fn queue(&self) -> Result<Vec<Value>> {
        let answer = self.get("/queue/api/json").await?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    /// Its home folder, which builds see as `HUDSON_HOME`.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let request = self.http.get(format!("{}{path}", self.url));
        let answer = request.basic_auth(USER, Some(PASSWORD)).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn post(&self, path: &str, kind: &str, body: String) -> Result<()> {
        let crumb = self.get("/crumbIssuer/api/json").await?;
        let text = |field: &str| crumb[field].as_str().with_context(|| format!("no {field}"));
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .basic_auth(USER, Some(PASSWORD))
            .header(text("crumbRequestField")?, text("crumb")?)
            .header("content-type", kind);
        let answer = request.body(body).send().await?;
        ensure!(answer.status().is_success(), "POST {path}: {}", answer.status());
        Ok(())
    }
}
