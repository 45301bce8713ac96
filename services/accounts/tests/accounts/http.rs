//! What people, players and programs are answered.

use boot::ticket::Verifier;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    place::Place,
    service::{Service, code},
};

on_both! {
    a_ticket_is_open_to_all_and_verifies
    what_viewers_upload_at_most_is_the_channels_to_say
    one_address_does_not_get_tickets_without_end
    channels_and_keys_are_administered_with_a_token_only
    every_refusal_has_one_shape
    a_client_that_trickles_its_body_is_sent_away
    figures_fail_soon_while_the_tracker_is_away
    pages_hold_no_script_and_no_style_of_their_own
}

async fn a_ticket_is_open_to_all_and_verifies(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    let channel = service.channel("demo").await?;
    let path = "/api/v1/channels/demo/ticket";
    let (status, reply) = service.ask(Method::POST, path, None, None).await?;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(reply["tracker"], format!("ws://{}/ws", service.http));
    assert_eq!(reply["channel"], "demo");
    assert_eq!(reply["channel_key"], hex::encode(channel.public_key()));
    assert_eq!(reply["play_out_delay_ms"], 1800);
    assert_eq!(reply["ice_servers"], json!([]));
    let token = reply["ticket"].as_str().unwrap_or_default();
    let ticket = service.accounts.ticket_verifier().verify(token)?;
    assert_eq!(ticket.channel_id, channel.id);
    assert_eq!(ticket.channel_key, channel.public_key());
    assert_eq!(ticket.name, "demo");
    assert!(Verifier::new(&[1; 32]).verify(token).is_err());

    for unknown in ["nobody", "NOBODY", "a"] {
        let path = format!("/api/v1/channels/{unknown}/ticket");
        let (status, reply) = service.ask(Method::POST, &path, None, None).await?;
        assert_eq!(
            (status, code(&reply)),
            (StatusCode::NOT_FOUND, "no_such_channel")
        );
    }
    Ok(())
}

async fn what_viewers_upload_at_most_is_the_channels_to_say(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    let new = json!({"name": "capped", "share": "required", "upload_max_bps": 2_000_000});
    let (_, made) = service
        .administer(Method::POST, "/api/v1/channels", Some(new))
        .await?;
    assert_eq!(made["upload_max_bps"], 2_000_000);
    let change = |body| service.administer(Method::PATCH, "/api/v1/channels/capped", Some(body));
    let ticket = async || {
        let path = "/api/v1/channels/capped/ticket";
        let (_, reply) = service.ask(Method::POST, path, None, None).await?;
        anyhow::Ok((reply["share"].clone(), reply["upload_max_bps"].clone()))
    };
    change(json!({"title": "Capped"})).await?;
    assert_eq!(ticket().await?, (json!("required"), json!(2_000_000)));
    for (bound, kept) in [
        (json!(100_000), true),
        (json!(99_999), false),
        (json!(1_000_000_000), true),
        (json!(1_000_000_001), false),
        (json!(u64::MAX), false),
        (json!(null), true),
    ] {
        let (status, reply) = change(json!({"upload_max_bps": bound})).await?;
        assert_eq!(status.is_success(), kept, "{bound}: {reply}");
        if kept {
            assert_eq!(ticket().await?.1, bound);
        }
    }
    let (_, made) = service
        .administer(
            Method::POST,
            "/api/v1/channels",
            Some(json!({"name": "open"})),
        )
        .await?;
    assert_eq!(made["upload_max_bps"], json!(null));
    Ok(())
}

async fn one_address_does_not_get_tickets_without_end(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    service.channel("demo").await?;
    for _ in 0..2000 {
        let path = "/api/v1/channels/demo/ticket";
        let (status, reply) = service.ask(Method::POST, path, None, None).await?;
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(code(&reply), "rate_limited");
            return Ok(());
        }
    }
    anyhow::bail!("2000 tickets were given")
}

async fn channels_and_keys_are_administered_with_a_token_only(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    let new = json!({"name": "my-show", "share": "required"});
    for token in [None, Some("lsa_wrong"), Some("")] {
        let (status, reply) = service
            .ask(Method::POST, "/api/v1/channels", token, Some(new.clone()))
            .await?;
        assert_eq!(
            (status, code(&reply)),
            (StatusCode::UNAUTHORIZED, "unauthorized")
        );
    }
    let create = |body| service.administer(Method::POST, "/api/v1/channels", Some(body));
    let (status, reply) = create(new.clone()).await?;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(reply["play_out_delay_ms"], 1800);
    let (status, reply) = create(new).await?;
    assert_eq!((status, code(&reply)), (StatusCode::CONFLICT, "name_taken"));
    let (status, reply) = create(json!({"name": "API"})).await?;
    assert_eq!(
        (status, code(&reply)),
        (StatusCode::UNPROCESSABLE_ENTITY, "invalid")
    );

    let (_, reply) = service
        .administer(Method::GET, "/api/v1/channels", None)
        .await?;
    assert_eq!(reply["channels"][0]["name"], "my-show");

    let keys = "/api/v1/channels/my-show/keys";
    let (status, made) = service.administer(Method::POST, keys, None).await?;
    assert_eq!(status, StatusCode::CREATED);
    let secret = made["stream_key"].as_str().unwrap_or_default();
    assert!(service.accounts.authorize(secret).await.is_ok());
    let (_, listed) = service.administer(Method::GET, keys, None).await?;
    assert!(listed["keys"][0]["last_used_at"].is_i64());
    assert!(!listed.to_string().contains(secret));
    // A name is not needed, nor is a body.
    for body in [json!(null), json!({}), json!({"name": "laptop"})] {
        let (status, _) = service.administer(Method::POST, keys, Some(body)).await?;
        assert_eq!(status, StatusCode::CREATED);
    }

    let one = format!("{keys}/{}", made["id"]);
    let (status, _) = service.administer(Method::DELETE, &one, None).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(service.accounts.authorize(secret).await.is_err());
    for unknown in ["999", "x"] {
        let path = format!("{keys}/{unknown}");
        let (status, reply) = service.administer(Method::DELETE, &path, None).await?;
        assert_eq!(
            (status, code(&reply)),
            (StatusCode::NOT_FOUND, "no_such_key")
        );
    }
    Ok(())
}

async fn every_refusal_has_one_shape(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    service.channel("demo").await?;
    let get = |path: &'static str| service.ask(Method::GET, path, None, None);
    for path in [
        "/nobody",
        "/a/b/c",
        "/api/v1/nothing",
        "/assets/none.js",
        "/%ff%fe",
        "/api/v1",
    ] {
        let (status, reply) = get(path).await?;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_ne!(code(&reply), "-", "{path}");
    }
    let (status, reply) = get("/api/v1/channels/demo/ticket").await?;
    assert!(status.is_client_error());
    assert_ne!(code(&reply), "-", "GET where POST belongs");
    let (status, reply) = service
        .ask(Method::PUT, "/api/v1/channels", None, None)
        .await?;
    assert!(status.is_client_error());
    assert_ne!(code(&reply), "-", "PUT where POST belongs");

    let post = |body: String, kind: &'static str| {
        service
            .client
            .post(format!("http://{}/api/v1/channels", service.http))
            .bearer_auth(&service.token)
            .header("content-type", kind)
            .body(body)
            .send()
    };
    let cases = [
        ("{", "application/json", StatusCode::BAD_REQUEST, "bad_json"),
        (
            "{}",
            "application/json",
            StatusCode::BAD_REQUEST,
            "bad_json",
        ),
        (
            "{}",
            "text/plain",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
        ),
    ];
    for (body, kind, status, word) in cases {
        let reply = post(body.into(), kind).await?;
        assert_eq!(reply.status(), status);
        assert_eq!(code(&reply.json().await?), word);
    }
    let reply = post(format!("\"{}\"", "a".repeat(100_000)), "application/json").await?;
    assert_eq!(reply.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(code(&reply.json().await?), "too_large");
    Ok(())
}

async fn a_client_that_trickles_its_body_is_sent_away(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    let stranger = service.trickle("lsa_wrong").await?;
    assert!(stranger.starts_with("HTTP/1.1 401"), "at once: {stranger}");
    let administrator = service.trickle(&service.token).await?;
    assert!(administrator.starts_with("HTTP/1.1 408"), "{administrator}");
    assert!(administrator.contains("too_slow"), "{administrator}");
    Ok(())
}

async fn figures_fail_soon_while_the_tracker_is_away(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    service.channel("demo").await?;
    let began = std::time::Instant::now();
    for what in ["stats", "swarm"] {
        let path = format!("/api/v1/channels/demo/{what}");
        let (status, reply) = service.ask(Method::GET, &path, None, None).await?;
        assert_eq!(
            (status, code(&reply)),
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        );
    }
    assert!(began.elapsed().as_secs() < 3);
    Ok(())
}

async fn pages_hold_no_script_and_no_style_of_their_own(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    service.channel("demo").await?;
    for path in ["/", "/demo"] {
        let reply = service
            .client
            .get(format!("http://{}{path}", service.http))
            .send()
            .await?;
        let policy = reply.headers()["content-security-policy"]
            .to_str()?
            .to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        let html = reply.text().await?;
        assert!(html.contains("demo") && !html.contains("{{"));
        assert!(
            !html.contains("style=")
                && !html.contains("<style")
                && !html.contains("onclick")
                && !html.contains("onload")
        );
        for part in html.split("/assets/").skip(1) {
            let file = part.split('"').next().unwrap_or_default();
            let asset = format!("http://{}/assets/{file}", service.http);
            assert!(
                service
                    .client
                    .get(asset)
                    .send()
                    .await?
                    .status()
                    .is_success(),
                "{file}"
            );
        }
    }
    let (status, document) = service
        .ask(Method::GET, "/api/v1/openapi.json", None, None)
        .await?;
    assert_eq!(
        (status, &document["openapi"]),
        (StatusCode::OK, &json!("3.1.0"))
    );
    Ok(())
}
