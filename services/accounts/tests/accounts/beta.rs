//! Signing up, waiting, being let in; and the mail that it takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    browser::{Browser, PASSWORD},
    place::Place,
    service::{Service, code},
};

on_both! {
    who_signs_up_waits_and_is_let_in
    an_invitation_lets_in_without_waiting
    known_and_unknown_mailboxes_are_answered_the_same
    a_mailbox_gets_three_letters_an_hour_and_no_more
    a_link_does_what_it_does_once
    a_link_takes_the_password_of_the_sign_up
    mail_waits_for_a_server_that_is_away
    without_mail_nobody_signs_up
}

async fn who_signs_up_waits_and_is_let_in(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut ann = Browser::signed_up(&service, &sink, "Ann@mail.example").await?;
    let mut bob = Browser::signed_up(&service, &sink, "bob@mail.example").await?;
    let page = bob.get("/dashboard").await?;
    assert!(page.text.contains("1 is before you."), "{}", page.text);
    let page = bob.act("/dashboard", &[("name", "bobs-show")]).await?;
    assert_eq!(page.status, StatusCode::FORBIDDEN);

    let operator = service.accounts.operator();
    assert_eq!(operator.beta().await?.waiting, 2);
    assert_eq!(operator.approve_next(1).await?, 1);
    let waiting = operator.waiting_list().await?;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].email.as_str(), "bob@mail.example");
    let letter = sink.letter("ann@mail.example", 1).await?;
    assert!(
        letter.text.contains("http://station.example/dashboard"),
        "{letter:?}"
    );
    assert!(bob.get("/dashboard").await?.text.contains("You are next."));
    assert!(ann.get("/dashboard").await?.text.contains("A new channel"));
    assert!(
        !operator.approve(operator.approved().await?[0].id).await?,
        "once"
    );
    Ok(())
}

async fn an_invitation_lets_in_without_waiting(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let code = service
        .accounts
        .operator()
        .invite("for the test", 1, 1)
        .await?;
    let typed = code.reveal().to_lowercase().replace('-', "");
    for (email, approved) in [("ann@mail.example", true), ("bob@mail.example", false)] {
        let mut new = json!({"email": email, "password": PASSWORD, "invitation": typed});
        if !approved {
            let (status, reply) = service.sign_up(new.clone()).await?;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "used up: {reply}");
            new["invitation"] = json!("");
        }
        assert_eq!(service.sign_up(new).await?.0, StatusCode::ACCEPTED);
        let link = sink.letter(email, 0).await?.link().context("no link")?;
        let (status, reply) = service.confirm(&link, PASSWORD).await?;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(reply["approved"], approved);
        assert_eq!(reply["position"].is_null(), approved);
    }
    Ok(())
}

async fn known_and_unknown_mailboxes_are_answered_the_same(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    // A mailbox that has had its letters costs less, whoever has it: so several.
    for number in 0..8 {
        Browser::signed_up(&service, &sink, &format!("ann-{number}@mail.example")).await?;
    }
    let mut times = [Vec::new(), Vec::new()];
    let mut answers = Vec::new();
    for round in 0..15 {
        // Capitals are the same mailbox.
        let known = format!("ANN-{}@mail.example", round % 8);
        let unknown = format!("nobody-{round}@mail.example");
        for (times, email) in times.iter_mut().zip([&known, &unknown]) {
            let began = Instant::now();
            let new = json!({"email": email, "password": PASSWORD});
            let (status, reply) = service.sign_up(new).await?;
            times.push(began.elapsed());
            answers.push(format!("{status} {reply}"));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    times.iter_mut().for_each(|times| times.sort());
    let gap = times[0][7].abs_diff(times[1][7]);
    eprintln!("known {:?}, unknown {:?}", times[0][7], times[1][7]);
    assert!(
        gap <= times[0][7].max(Duration::from_millis(20)) / 4,
        "{times:?}"
    );

    let known = sink.letter("ann-0@mail.example", 1).await?;
    assert!(
        known.text.contains("has an account") && known.link().is_none(),
        "{known:?}"
    );
    let unknown = sink.letter("nobody-0@mail.example", 0).await?;
    assert!(unknown.link().is_some());

    let forgot = |email: &'static str| {
        let service = &service;
        async move {
            let body = Some(json!({"email": email}));
            service
                .ask(Method::POST, "/api/v1/password/forgot", None, body)
                .await
        }
    };
    assert_eq!(
        forgot("bob@mail.example").await?,
        forgot("nobody-1@mail.example").await?
    );
    Ok(())
}

async fn a_mailbox_gets_three_letters_an_hour_and_no_more(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let bombs = (0..60)
        .map(|_| service.sign_up(json!({"email": "ann@mail.example", "password": PASSWORD})));
    for answer in futures_util::future::join_all(bombs).await {
        let (status, _) = answer?;
        let expected = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE];
        assert!(expected.contains(&status), "{status}");
    }
    service
        .sign_up(json!({"email": "bob@mail.example", "password": PASSWORD}))
        .await?;
    sink.letter("bob@mail.example", 0).await?;
    sink.letter("ann@mail.example", 2).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(sink.letters_to("ann@mail.example").len(), 3);
    Ok(())
}

async fn a_link_does_what_it_does_once(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    service
        .sign_up(json!({"email": "ann@mail.example", "password": PASSWORD}))
        .await?;
    let link = sink
        .letter("ann@mail.example", 0)
        .await?
        .link()
        .context("no link")?;
    let looks = format!("/signup/confirm?link={link}");
    let mut browser = Browser::new(&service)?;
    for _ in 0..2 {
        assert_eq!(
            browser.get(&looks).await?.status,
            StatusCode::OK,
            "looking is no use"
        );
    }
    // As many as there is room to hash for, and then some in a row.
    let many = (0..40).map(|_| service.confirm(&link, PASSWORD));
    let mut made = 0;
    for answer in futures_util::future::join_all(many).await {
        let (status, reply) = answer?;
        made += usize::from(status == StatusCode::CREATED);
        let expected = [
            StatusCode::CREATED,
            StatusCode::GONE,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        assert!(expected.contains(&status), "{status} {reply}");
    }
    assert_eq!(made, 1);
    assert_eq!(service.confirm(&link, PASSWORD).await?.0, StatusCode::GONE);
    assert_eq!(browser.get(&looks).await?.status, StatusCode::GONE);
    for foreign in ["", "lsl_x", "ls_x", &"a".repeat(1000)] {
        assert_eq!(
            service.confirm(foreign, PASSWORD).await?.0,
            StatusCode::GONE
        );
    }
    assert_eq!(service.accounts.operator().beta().await?.waiting, 1);
    Ok(())
}

async fn a_link_takes_the_password_of_the_sign_up(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    for password in ["the one of somebody else", PASSWORD] {
        service
            .sign_up(json!({"email": "ann@mail.example", "password": password}))
            .await?;
    }
    let mut links = Vec::new();
    for after in 0..2 {
        let letter = sink.letter("ann@mail.example", after).await?;
        links.push(letter.link().context("no link")?);
    }
    let mut made = 0;
    for link in &links {
        let (status, reply) = service.confirm(link, PASSWORD).await?;
        match status {
            StatusCode::CREATED => made += 1,
            _ => assert_eq!(code(&reply), "invalid", "the stranger's link makes nothing"),
        }
    }
    assert_eq!(made, 1);
    assert!(
        service
            .accounts
            .log_in("ANN@mail.example", PASSWORD)
            .await
            .is_ok()
    );
    Ok(())
}

async fn mail_waits_for_a_server_that_is_away(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    sink.away(true);
    service
        .sign_up(json!({"email": "ann@mail.example", "password": PASSWORD}))
        .await?;
    let operator = service.accounts.operator();
    let began = Instant::now();
    while operator.beta().await?.mail.waiting != 1 || began.elapsed() < Duration::from_secs(1) {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sink.away(false);
    let letter = sink.letter("ann@mail.example", 0).await?;
    let link = letter.link().context("no link")?;
    assert_eq!(
        service.confirm(&link, PASSWORD).await?.0,
        StatusCode::CREATED
    );
    while operator.beta().await?.mail.waiting != 0 {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn without_mail_nobody_signs_up(place: Place) -> Result<()> {
    let service = Service::start(place).await?;
    let (status, reply) = service
        .sign_up(json!({"email": "a@mail.example", "password": PASSWORD}))
        .await?;
    assert_eq!(
        (status, code(&reply)),
        (StatusCode::SERVICE_UNAVAILABLE, "no_mail")
    );
    Ok(())
}
