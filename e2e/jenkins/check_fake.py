"""Drives the fake Jenkins with two independent clients, python-jenkins and api4jenkins.

What they need and how they read it was decided by people who had a real Jenkins before them.
Usage: check_fake.py URL
"""

import sys
import time

import api4jenkins
import jenkins
import requests

XML = """<?xml version='1.1' encoding='UTF-8'?>
<project>
  <description>fake: takes={takes} result={result} quiet={quiet}</description>
  <concurrentBuild>true</concurrentBuild>
  <disabled>false</disabled>
  <properties>
    <hudson.model.ParametersDefinitionProperty>
      <parameterDefinitions>
        <hudson.model.StringParameterDefinition>
          <name>PROMOTION_ID</name>
          <defaultValue></defaultValue>
        </hudson.model.StringParameterDefinition>
        <hudson.model.ChoiceParameterDefinition>
          <name>TO</name>
          <choices class="java.util.Arrays$ArrayList"><a class="string-array">
            <string>test</string><string>live</string>
          </a></choices>
        </hudson.model.ChoiceParameterDefinition>
      </parameterDefinitions>
    </hudson.model.ParametersDefinitionProperty>
  </properties>
  <builders/>
</project>"""

done = []


def check(what, is_so):
    if not is_so:
        sys.exit(f"{what}: not so")
    done.append(what)


def refused(what, call):
    try:
        call()
    except Exception:
        done.append(what)
    else:
        sys.exit(f"{what}: not refused")


def eventually(what, find):
    for _ in range(100):
        found = find()
        if found:
            done.append(what)
            return found
        time.sleep(0.1)
    sys.exit(f"{what}: not within ten seconds")


def parameters_of(build):
    actions = [a for a in build["actions"] if "parameters" in a]
    return {p["name"]: p["value"] for a in actions for p in a["parameters"]}


def xml(takes, result="SUCCESS", quiet=0):
    return XML.format(takes=takes, result=result, quiet=quiet)


def python_jenkins(url):
    server = jenkins.Jenkins(url, username="admin", password="admin", timeout=5)
    check("version", server.get_version().startswith("2."))
    check("whoami", server.get_whoami()["fullName"] == "admin")
    check("info", server.get_info()["useCrumbs"] is True)

    server.create_job("pj", jenkins.EMPTY_FOLDER_XML)
    check("a crumb was taken with a password", server.crumb["crumbRequestField"] == "Jenkins-Crumb")
    server.create_job("pj/quick", xml(1, "UNSTABLE"))
    server.create_job("pj/slow", xml(600))
    server.create_job("pj/patient", xml(1, quiet=600))
    refused("a name that is taken", lambda: server.create_job("pj/quick", xml(1)))
    names = {job["fullname"] for job in server.get_all_jobs()}
    check("all jobs", {"pj", "pj/quick", "pj/slow", "pj/patient"} <= names)
    check("job exists", server.job_exists("pj/quick") and not server.job_exists("pj/none"))
    check("config", "PROMOTION_ID" in server.get_job_config("pj/quick"))
    info = server.get_job_info("pj/quick")
    check("job info", info["fullName"] == "pj/quick" and info["buildable"] and info["nextBuildNumber"] == 1)
    declared = [d for p in info["property"] for d in p.get("parameterDefinitions", [])]
    check("declared parameters", [d["name"] for d in declared] == ["PROMOTION_ID", "TO"])
    check("choices", declared[1]["choices"] == ["test", "live"])

    item = server.build_job("pj/quick", {"PROMOTION_ID": "a & b", "TO": "live", "UNKNOWN": "x"})
    check("queue item", server.get_queue_item(item)["task"]["name"] == "quick")
    executable = eventually("executable", lambda: server.get_queue_item(item).get("executable"))
    number = executable["number"]
    build = server.get_build_info("pj/quick", number)
    check("parameters, none but declared", parameters_of(build) == {"PROMOTION_ID": "a & b", "TO": "live"})
    check("queueId", build["queueId"] == item)
    result = eventually("result", lambda: server.get_build_info("pj/quick", number)["result"])
    check("result of the script", result == "UNSTABLE")
    check("console", server.get_build_console_output("pj/quick", number) != "")
    builds = server.get_job_info("pj/quick", fetch_all_builds=True)["builds"]
    check("all builds", [b["number"] for b in builds] == [1])

    item = server.build_job("pj/slow", {"PROMOTION_ID": "s"})
    executable = eventually("executable of the slow one", lambda: server.get_queue_item(item).get("executable"))
    running = server.get_running_builds()
    check("running builds", [b["number"] for b in running] == [executable["number"]])
    check("nodes", [n["name"] for n in server.get_nodes()] == ["Built-In Node"])
    server.stop_build("pj/slow", executable["number"])
    stopped = eventually("stopped", lambda: server.get_build_info("pj/slow", executable["number"])["result"])
    check("result of a stop", stopped == "ABORTED")

    item = server.build_job("pj/patient", {"PROMOTION_ID": "p"})
    again = server.build_job("pj/patient", {"PROMOTION_ID": "other"})
    check("different parameters are not merged", item != again)
    queue = {i["id"]: i for i in server.get_queue_info()}
    check("queue list", item in queue and "PROMOTION_ID=p" in queue[item]["params"])
    check("waits", server.get_queue_item(item)["_class"].endswith("$WaitingItem"))
    server.cancel_queue(item)
    server.cancel_queue(again)
    check("cancelled", server.get_queue_item(item)["cancelled"] is True)
    check("queue is empty", server.get_queue_info() == [])
    server.disable_job("pj/patient")
    check("disabled", server.get_job_info("pj/patient")["buildable"] is False)
    refused("a build of a disabled job", lambda: server.build_job("pj/patient", {"PROMOTION_ID": "p"}))
    server.enable_job("pj/patient")
    refused("an item that is not there", lambda: server.get_queue_item(99999))
    refused("a build that is not there", lambda: server.get_build_info("pj/quick", 99))
    wrong = jenkins.Jenkins(url, username="admin", password="wrong", timeout=5)
    refused("a wrong password", wrong.get_whoami)
    server.delete_job("pj")
    check("deleted with all inside", not server.job_exists("pj/quick"))


def build_of(item):
    try:
        return item.get_build()
    except TypeError:
        # It has left the queue and is not a build yet, which this client does not expect.
        return None


def api4(url):
    server = api4jenkins.Jenkins(url, auth=("admin", "admin"))
    check("api4: version", server.version.startswith("2."))
    server.create_job("a4/quick", xml(1, "FAILURE"), recursive=True)
    job = server.get_job("a4/quick")
    check("api4: job", job.full_name == "a4/quick" and job.buildable)
    names = [p["name"] for p in job.get_parameters()]
    check("api4: parameters", names == ["PROMOTION_ID", "TO"])
    item = job.build(PROMOTION_ID="z", TO="test")
    check("api4: class of the item", item.get_job() == job)
    build = eventually("api4: build", lambda: build_of(item))
    check("api4: number", build.number == 1)
    given = {p.name: p.value for p in build.get_parameters()}
    check("api4: parameters of the build", given == {"PROMOTION_ID": "z", "TO": "test"})
    result = eventually("api4: result", lambda: build.result)
    check("api4: result of the script", result == "FAILURE")
    check("api4: it has ended", not build.building)
    item = server.get_job("a4/quick").build(PROMOTION_ID="y", TO="live")
    build = eventually("api4: second build", lambda: build_of(item))
    build.stop()
    check("api4: last build", job.get_last_build() == build)
    check("api4: builds", [b.number for b in job] == [2, 1])
    refused("api4: undeclared choice", lambda: job.build(PROMOTION_ID="x", TO="moon"))
    server.delete_job("a4")


def plain(url):
    """What no client shows: crumbs belong to a session, methods, redirects."""
    admin, api_token = ("admin", "admin"), ("admin", "admin-token")
    item = url + "createItem?name=plain"
    kind = {"Content-Type": "application/xml"}
    crumb = requests.get(url + "crumbIssuer/api/json", auth=admin, timeout=5)
    header = {crumb.json()["crumbRequestField"]: crumb.json()["crumb"]}

    def create(auth, headers, cookies=None):
        answer = requests.post(item, xml(1), auth=auth, headers=kind | headers, cookies=cookies, timeout=5)
        return answer

    check("no crumb", create(admin, {}).status_code == 403)
    check("no crumb, in words", "No valid crumb was included in the request" in create(admin, {}).text)
    check("a crumb without its session", create(admin, header).status_code == 403)
    check("a crumb with its session", create(admin, header, crumb.cookies).status_code == 200)
    taken = create(api_token, {})
    check("a token needs no crumb, a taken name has its reason in a header",
          taken.status_code == 400 and "already exists" in taken.headers["X-Error"])
    call = url + "job/plain/buildWithParameters"
    got = requests.get(call, auth=api_token, timeout=5)
    check("only POST", got.status_code == 405 and got.headers["Allow"] == "POST")
    same = [requests.post(call, {"PROMOTION_ID": "m", "delay": "60sec"}, auth=api_token, timeout=5,
                          allow_redirects=False) for _ in range(2)]
    check("merged", [a.status_code for a in same] == [201, 303])
    check("with one item", same[0].headers["Location"] == same[1].headers["Location"])
    nobody = requests.get(url + "job/plain/", timeout=5, allow_redirects=False)
    check("nobody is sent to log in", nobody.status_code == 302 and "/login?from=" in nobody.headers["Location"])
    pruned = requests.get(url + "queue/api/json?tree=items[id]", auth=api_token, timeout=5).json()
    check("tree", all(set(i) == {"_class", "id"} for i in pruned["items"]) and pruned["items"])


def main():
    url = sys.argv[1].rstrip("/") + "/"
    python_jenkins(url)
    api4(url)
    plain(url)
    print(f"{len(done)} checks")


main()
