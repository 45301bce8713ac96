//! Services in processes of their own that know each other by certificates, and what people
//! are told who start them wrongly.

mod programs;

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, time::Instant};

use anyhow::{Result, ensure};

use crate::programs::{LOOK_AGAIN, Program, START, args, fails, free, init, tls};

#[tokio::test]
async fn certificates_are_made_once_and_renewed_when_asked() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("pki");
    let said = init(&folder, &["--name", "one.example"]).await?;
    let read = |name: &str| fs::read(folder.join(name));
    let mut all = vec!["ca", "station"];
    all.extend(["accounts", "ingest", "encoder", "tracker", "seeder"]);
    for name in &all {
        assert!(
            said.contains(&format!("{name}.pem  made, until 2")),
            "{said}"
        );
        let key = folder.join(format!("{name}.key"));
        assert_eq!(fs::metadata(key)?.permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&folder)?.permissions().mode() & 0o777, 0o700);

    let (ca, seeder, tracker) = (read("ca.pem")?, read("seeder.pem")?, read("tracker.pem")?);
    fs::remove_file(folder.join("ingest.key"))?;
    let said = init(&folder, &["--renew", "seeder"]).await?;
    assert_eq!(said.matches("there already").count(), all.len() - 2);
    assert!(said.contains("seeder.pem  renewed") && said.contains("ingest.pem  made"));
    assert_eq!((read("ca.pem")?, read("tracker.pem")?), (ca, tracker));
    assert_ne!(read("seeder.pem")?, seeder);

    fs::remove_file(folder.join("ca.key"))?;
    let shown = folder.display().to_string();
    let (code, why) = fails(&["pki", "init", &shown], &[]).await?;
    assert_eq!(code, Some(1));
    assert!(why.contains("ca.key") && why.contains(&shown), "{why}");
    let (code, why) = fails(&["pki", "init", &shown, "--renew", "viewer"], &[]).await?;
    assert!(code == Some(2) && why.contains("seeder"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_station_its_tracker_and_its_seeder_meet_by_tls() -> Result<()> {
    boot::start()?;
    let folder = tempfile::tempdir()?;
    let pki = folder.path().join("pki");
    init(&pki, &[]).await?;
    let [accounts, tracker, tracker_http, seeder] = free()?;
    let data = folder.path().join("data").display().to_string();
    let station = args(
        &format!(
            "standalone --data-dir {data} --http 127.0.0.1:0 --rtmp 127.0.0.1:0 \
             --udp 127.0.0.1:0 --accounts-grpc {accounts} --tracker https://{tracker} \
             --tracker-public http://{tracker_http} --seeder https://{seeder}"
        ),
        tls(&pki, "station"),
    );
    let (_station, ready) = Program::start(folder.path(), "station", &station).await?;
    let stats = format!(
        "{}/api/v1/channels/demo/stats",
        ready["http"].as_str().unwrap_or_default()
    );
    assert_eq!(reqwest::get(&stats).await?.status(), 503);

    let apart = args(
        &format!("tracker --accounts https://{accounts} --grpc {tracker} --http {tracker_http}"),
        tls(&pki, "tracker"),
    );
    let (_tracker, ready) = Program::start(folder.path(), "tracker", &apart).await?;
    assert_eq!(ready["grpc"], format!("https://{tracker}"));
    let began = Instant::now();
    while !reqwest::get(&stats).await?.status().is_success() {
        ensure!(began.elapsed() < START, "the tracker gives no figures");
        tokio::time::sleep(LOOK_AGAIN).await;
    }

    let apart = args(
        &format!(
            "seeder --accounts https://{accounts} --tracker https://{tracker} --grpc {seeder} \
             --udp 127.0.0.1:0 --http 127.0.0.1:0"
        ),
        tls(&pki, "seeder"),
    );
    let (_seeder, ready) = Program::start(folder.path(), "seeder", &apart).await?;
    assert_eq!(ready["grpc"], format!("https://{seeder}"));
    for name in ["station", "tracker", "seeder"] {
        let log = fs::read_to_string(folder.path().join(format!("{name}.log")))?;
        assert!(!log.contains("a call is refused"), "{name}: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_part_of_the_tls_flags_is_wrong_usage_that_names_the_rest() -> Result<()> {
    let tracker = ["tracker", "--accounts", "https://127.0.0.1:9"];
    let flags = ["--tls-ca", "--tls-cert", "--tls-key"];
    for given in flags {
        let variable = given[2..].to_uppercase().replace('-', "_");
        let variable = format!("LIVESTATION_{variable}");
        let by_flag = [&tracker[..], &[given, "some.pem"]].concat();
        for (args, env) in [
            (&by_flag[..], &[][..]),
            (&tracker[..], &[(&*variable, "some.pem")][..]),
        ] {
            let (code, why) = fails(args, env).await?;
            assert_eq!(code, Some(2), "{why}");
            for missing in flags.iter().filter(|flag| **flag != given) {
                assert!(why.contains(missing), "{given} alone: {why}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_spoken_is_told_before_a_port_is_bound() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pki = folder.path().join("pki");
    init(&pki, &[]).await?;
    let by_tls = tls(&pki, "tracker");
    let by_tls: Vec<&str> = by_tls.iter().map(String::as_str).collect();
    // Were a port bound first, that would be the complaint.
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let here = ["--accounts", "http://127.0.0.1:9"];
    let data = folder.path().join("data").display().to_string();
    let seeder = tls(&pki, "seeder");
    let other_role: Vec<&str> = seeder.iter().map(String::as_str).collect();
    let by_name = "http://accounts.example:7700";
    for (args, said) in [
        (
            [&["tracker", "--grpc", "0.0.0.0:0"], &here[..]].concat(),
            "--grpc 0.0.0.0:0: plain text is for loopback",
        ),
        (
            vec!["tracker", "--accounts", by_name],
            "--accounts http://accounts.example:7700: plain text is for loopback",
        ),
        (
            [&["tracker"], &here[..], &by_tls].concat(),
            "--accounts http://127.0.0.1:9: it begins with https://",
        ),
        (
            vec!["tracker", "--accounts", "https://127.0.0.1:9"],
            "--accounts https://127.0.0.1:9: it begins with http://",
        ),
        (
            [&["tracker", "--accounts", "https://a:9"], &other_role[..]].concat(),
            "is not for the role tracker",
        ),
        (
            vec![
                "standalone",
                "--data-dir",
                &data,
                "--accounts-grpc",
                "0.0.0.0:0",
            ],
            "--accounts-grpc 0.0.0.0:0: plain text is for loopback",
        ),
        (
            [&["standalone", "--data-dir", &data], &by_tls[..]].concat(),
            "is not for the role accounts",
        ),
    ] {
        let args = [&args[..], &["--http", &taken]].concat();
        let (code, why) = fails(&args, &[]).await?;
        assert_eq!(code, Some(1), "{args:?}: {why}");
        assert!(why.contains(said), "{args:?}: {why}");
    }
    let (_, why) = fails(
        &[
            "tracker",
            "--accounts",
            by_name,
            "--grpc-plaintext",
            "--http",
            &taken,
        ],
        &[],
    )
    .await?;
    assert!(why.contains(&format!("--http {taken}")), "{why}");
    Ok(())
}
