//! The pages as a browser uses them.

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    browser::{Browser, PASSWORD},
    place::Place,
    service::Service,
};

on_both! {
    a_member_makes_a_channel_and_goes_on_air
    a_log_in_is_kept_as_browsers_should
    another_password_logs_others_out
    what_was_forgotten_is_reset_by_mail
    nothing_of_a_deleted_account_is_left
    cross_site_posts_change_nothing
    what_was_typed_comes_back_with_its_faults
    attempts_are_bounded
    members_have_their_own_channels_alone
    tokens_do_what_their_scopes_say
    only_administrators_administer
    no_page_is_heavy
}

const ANN: &str = "ann@mail.example";
const BOB: &str = "bob@mail.example";

async fn a_member_makes_a_channel_and_goes_on_air(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut ann = Browser::member(&service, &sink, ANN).await?;
    let page = ann
        .act("/dashboard", &[("name", "My-Show"), ("title", "My show")])
        .await?;
    assert_eq!(page.location, "/dashboard/my-show");
    let page = ann
        .act("/dashboard/my-show/keys", &[("name", "laptop")])
        .await?;
    let key = page.secret("ls_").context("no key is shown")?;
    assert!(
        page.text
            .contains(&format!("rtmp://live.example/live/{key}")),
        "{}",
        page.text
    );
    assert_eq!(
        service
            .accounts
            .authorize(&key)
            .await?
            .channel
            .name
            .as_str(),
        "my-show"
    );
    let page = ann.get("/dashboard/my-show").await?;
    assert!(
        !page.text.contains(&key) && page.text.contains("laptop"),
        "shown once"
    );

    let channel = service.accounts.channel("my-show").await?;
    let id = service.accounts.stream_keys(&channel).await?[0].id;
    let page = ann
        .act(&format!("/dashboard/my-show/keys/{id}/rotate"), &[])
        .await?;
    let next = page.secret("ls_").context("no key is shown")?;
    assert!(service.accounts.authorize(&key).await.is_err());
    assert_eq!(
        service
            .accounts
            .authorize(&next)
            .await?
            .channel
            .name
            .as_str(),
        "my-show"
    );

    let settings = [
        ("title", "Ours"),
        ("description", "About us"),
        ("share", "off"),
        ("upload", "2000000"),
        ("delay", "3000"),
    ];
    assert_eq!(
        ann.act("/dashboard/my-show", &settings).await?.status,
        StatusCode::SEE_OTHER
    );
    let channel = service.accounts.channel("my-show").await?;
    assert_eq!((channel.shown(), channel.play_out_delay_ms), ("Ours", 3000));
    assert_eq!(channel.upload_max_bps, Some(2_000_000));
    assert!(ann.get("/my-show").await?.text.contains("About us"));
    assert!(ann.get("/").await?.text.contains("Ours"));

    let page = ann
        .act("/dashboard/my-show/delete", &[("sure", "no")])
        .await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    ann.act("/dashboard/my-show/delete", &[("sure", "my-show")])
        .await?;
    assert!(service.accounts.channel("my-show").await.is_err());
    Ok(())
}

async fn a_log_in_is_kept_as_browsers_should(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    Browser::signed_up(&service, &sink, ANN).await?;
    let mut ann = Browser::new(&service)?;
    assert_eq!(ann.get("/account").await?.location, "/login?to=/account");
    let typed = [("email", ANN), ("password", PASSWORD), ("to", "/account")];
    let page = ann.post("/login", &typed).await?;
    assert_eq!(page.location, "/account");
    let set = page.set_cookie.context("no cookie")?;
    for part in [
        "__Host-",
        "; HttpOnly",
        "; SameSite=Lax",
        "; Secure",
        "; Path=/",
    ] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Domain"));
    let first = ann.cookie.clone();
    ann.post("/login", &typed).await?;
    assert_ne!(ann.cookie, first, "another at each log-in");
    let second = ann.cookie.clone();
    ann.cookie = first;
    assert_eq!(
        ann.get("/account").await?.status,
        StatusCode::SEE_OTHER,
        "and the one before ends"
    );
    ann.cookie = second.clone();

    // Of several, one is ended from another.
    let mut phone = Browser::new(&service)?;
    phone.post("/login", &typed).await?;
    let account = service.accounts.operator().account_of(ANN).await?;
    let logins = service.accounts.logins(&account).await?;
    assert_eq!(logins.len(), 3);
    let page = ann
        .act(&format!("/account/logins/{}/end", logins[0].id), &[])
        .await?;
    assert_eq!(page.location, "/account");
    assert_eq!(phone.get("/account").await?.status, StatusCode::SEE_OTHER);

    assert_eq!(ann.act("/logout", &[]).await?.location, "/");
    ann.cookie = second;
    assert_eq!(
        ann.get("/account").await?.status,
        StatusCode::SEE_OTHER,
        "it ended here too"
    );
    Ok(())
}

async fn another_password_logs_others_out(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut phone = Browser::signed_up(&service, &sink, ANN).await?;
    let mut ann = Browser::new(&service)?;
    ann.post("/login", &[("email", ANN), ("password", PASSWORD)])
        .await?;
    let new = "an even longer sentence";
    let page = ann
        .act("/account/password", &[("old", "wrong"), ("password", new)])
        .await?;
    assert!(page.text.contains("That is not your password."));
    let page = ann
        .act(
            "/account/password",
            &[("old", PASSWORD), ("password", "short")],
        )
        .await?;
    assert!(page.text.contains("at least 10 characters"));
    let page = ann
        .act("/account/password", &[("old", PASSWORD), ("password", new)])
        .await?;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert_eq!(ann.get("/account").await?.status, StatusCode::OK);
    assert_eq!(phone.get("/account").await?.status, StatusCode::SEE_OTHER);
    assert!(service.accounts.log_in(ANN, PASSWORD).await.is_err());
    assert!(service.accounts.log_in(ANN, new).await.is_ok());
    Ok(())
}

async fn what_was_forgotten_is_reset_by_mail(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut ann = Browser::signed_up(&service, &sink, ANN).await?;
    let mut other = Browser::new(&service)?;
    for _ in 0..2 {
        let page = other
            .post("/login/forgot", &[("email", "ANN@mail.example")])
            .await?;
        assert_eq!(page.status, StatusCode::OK);
    }
    let first = sink.letter(ANN, 1).await?.link().context("no link")?;
    let second = sink.letter(ANN, 2).await?.link().context("no link")?;
    assert_eq!(
        other
            .get(&format!("/login/reset?link={first}"))
            .await?
            .status,
        StatusCode::OK
    );
    let page = other
        .post("/login/reset", &[("link", &first), ("password", "short")])
        .await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let new = "an even longer sentence";
    let page = other
        .post("/login/reset", &[("link", &first), ("password", new)])
        .await?;
    assert_eq!(page.location, "/login?reset=done");
    for link in [&first, &second] {
        let page = other
            .post("/login/reset", &[("link", link), ("password", PASSWORD)])
            .await?;
        assert_eq!(
            page.status,
            StatusCode::GONE,
            "used, or made worthless by it"
        );
    }
    assert_eq!(ann.get("/account").await?.status, StatusCode::SEE_OTHER);
    assert!(service.accounts.log_in(ANN, new).await.is_ok());
    Ok(())
}

async fn nothing_of_a_deleted_account_is_left(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut ann = Browser::member(&service, &sink, ANN).await?;
    ann.act("/dashboard", &[("name", "my-show")]).await?;
    let page = ann.act("/dashboard/my-show/keys", &[]).await?;
    let key = page.secret("ls_").context("no key")?;
    let page = ann.act("/account/tokens", &[("read", "1")]).await?;
    let token = page.secret("lsa_").context("no token")?;
    let page = ann.act("/account/delete", &[("old", "wrong")]).await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = ann.act("/account/delete", &[("old", PASSWORD)]).await?;
    assert_eq!(page.location, "/");
    assert!(service.accounts.authorize(&key).await.is_err());
    assert!(service.accounts.caller(&token).await?.is_none());
    assert!(service.accounts.channel("my-show").await.is_err());
    assert!(service.accounts.log_in(ANN, PASSWORD).await.is_err());
    assert!(service.accounts.operator().account_of(ANN).await.is_err());
    // And may begin anew.
    Browser::signed_up(&service, &sink, ANN).await?;
    Ok(())
}

async fn cross_site_posts_change_nothing(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut ann = Browser::member(&service, &sink, ANN).await?;
    ann.act("/dashboard", &[("name", "my-show")]).await?;
    let csrf = ann.get("/account").await?.csrf().context("no token")?;
    let posts = [
        "/dashboard",
        "/dashboard/my-show",
        "/dashboard/my-show/delete",
        "/dashboard/my-show/keys",
        "/dashboard/my-show/keys/1/rotate",
        "/account/password",
        "/account/tokens",
        "/account/delete",
        "/logout",
        "/login",
        "/login/forgot",
        "/login/reset",
        "/signup",
        "/signup/confirm",
        "/admin/invite",
    ];
    let fields = [
        ("csrf", csrf.as_str()),
        ("name", "other-show"),
        ("sure", "my-show"),
        ("old", PASSWORD),
        ("password", PASSWORD),
        ("email", BOB),
    ];
    for path in posts {
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("referer", "http://station.example/"),
        ] {
            let request = ann.form(path, &fields).header(name, value);
            let page = ann.send(request).await?;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {name}: {value}");
        }
    }
    // From the right place, but without what the member's pages hold.
    for token in ["", "0".repeat(32).as_str()] {
        for path in posts.iter().take(9) {
            let page = ann
                .post(
                    path,
                    &[("csrf", token), ("sure", "my-show"), ("old", PASSWORD)],
                )
                .await?;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
    assert_eq!(ann.get("/account").await?.status, StatusCode::OK);
    let account = service.accounts.operator().account_of(ANN).await?;
    assert_eq!(service.accounts.channels_of(&account).await?.len(), 1);
    assert!(service.accounts.tokens_of(&account).await?.is_empty());
    assert!(sink.letters_to(BOB).is_empty());
    Ok(())
}

async fn what_was_typed_comes_back_with_its_faults(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut ann = Browser::new(&service)?;
    let nasty = "\"><script>alert(1)</script>'; DROP TABLE accounts; --";
    let typed = [
        ("email", nasty),
        ("password", "short"),
        ("invitation", nasty),
    ];
    let page = ann.post("/signup", &typed).await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    for fault in [
        "no e-mail address",
        "at least 10 characters",
        "invitation is not known",
    ] {
        assert!(page.text.contains(fault), "{fault}: {}", page.text);
    }
    assert!(!page.text.contains("<script>alert") && !page.text.contains("short"));
    assert!(page.text.contains("DROP TABLE accounts"), "it comes back");
    let page = ann
        .post("/login", &[("email", nasty), ("password", "x")])
        .await?;
    assert!(page.text.contains("E-mail or password is wrong.") && page.text.contains("DROP"));

    let mut ann = Browser::member(&service, &sink, ANN).await?;
    let long = "a".repeat(2000);
    for name in ["", "a", "API", "live", nasty, "ä-show", "a\u{202e}b", &long] {
        let page = ann
            .act("/dashboard", &[("name", name), ("title", "Kept")])
            .await?;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        assert!(
            page.text.contains("value=\"Kept\"") && page.text.contains("-fault"),
            "{name}"
        );
        assert!(!page.text.contains("<script>alert"));
    }
    let page = ann
        .act("/dashboard", &[("name", "my-show"), ("title", nasty)])
        .await?;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    for path in ["/", "/my-show", "/dashboard", "/dashboard/my-show"] {
        let page = ann.get(path).await?;
        assert!(
            page.text.contains("DROP TABLE") && !page.text.contains("<script>alert"),
            "{path}"
        );
    }
    let twice = [("email", ANN), ("email", BOB), ("password", PASSWORD)];
    assert_eq!(
        ann.post("/signup", &twice).await?.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        ann.post("/login", &[]).await?.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let huge = "a".repeat(100_000);
    let page = ann.post("/login", &[("email", &huge)]).await?;
    assert!(
        page.status.is_client_error() && page.text.contains("<h1>"),
        "{}",
        page.status
    );
    Ok(())
}

async fn attempts_are_bounded(place: Place) -> Result<()> {
    let (service, _) = Service::with_attempts(place, 60).await?;
    let mut ann = Browser::new(&service)?;
    let mut wrong = 0;
    let limited = loop {
        let page = ann
            .post("/login", &[("email", ANN), ("password", "not the one")])
            .await?;
        if page.status == StatusCode::TOO_MANY_REQUESTS {
            break page;
        }
        wrong += 1;
        assert!(
            wrong <= 21,
            "an account's password may be guessed without end"
        );
    };
    assert!(limited.text.contains(ANN), "what was typed stays");
    // Another account is not held up by it, but the address is at its end sometime.
    let page = ann
        .post("/login", &[("email", BOB), ("password", "not the one")])
        .await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    for round in 0..100 {
        let body = json!({"email": "x", "password": ""});
        let (status, _) = service.sign_up(body).await?;
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(());
        }
        assert!(round < 60);
    }
    anyhow::bail!("an address may try without end")
}

async fn members_have_their_own_channels_alone(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    service.channel("demo").await?;
    let mut ann = Browser::member(&service, &sink, ANN).await?;
    ann.act("/dashboard", &[("name", "anns-show")]).await?;
    let mut bob = Browser::member(&service, &sink, BOB).await?;
    for channel in ["anns-show", "demo", "nobodys"] {
        assert_eq!(
            bob.get(&format!("/dashboard/{channel}")).await?.status,
            StatusCode::NOT_FOUND
        );
        for what in ["", "/keys", "/keys/1/rotate", "/keys/1/revoke", "/delete"] {
            let path = format!("/dashboard/{channel}{what}");
            let page = bob.act(&path, &[("sure", channel)]).await?;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
    for number in 0..10 {
        bob.act("/dashboard", &[("name", &format!("show-{number}"))])
            .await?;
    }
    let page = bob.act("/dashboard", &[("name", "show-10")]).await?;
    assert!(page.text.contains("at most 10 channels"), "{}", page.text);
    assert_eq!(service.accounts.channels().await?.len(), 12);
    Ok(())
}

async fn tokens_do_what_their_scopes_say(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    service.channel("demo").await?;
    let mut ann = Browser::member(&service, &sink, ANN).await?;
    let page = ann.act("/account/tokens", &[("name", "none")]).await?;
    assert!(page.text.contains("Choose what the token may do."));
    let mut tokens = Vec::new();
    for scope in ["read", "channels", "keys"] {
        let page = ann
            .act("/account/tokens", &[("name", scope), (scope, "1")])
            .await?;
        tokens.push(page.secret("lsa_").context("no token")?);
    }
    let new = json!({"name": "my-show", "title": "Mine"});
    let calls = [
        (
            Method::POST,
            "/api/v1/channels",
            Some(new),
            1,
            StatusCode::CREATED,
        ),
        (Method::GET, "/api/v1/channels", None, 0, StatusCode::OK),
        (
            Method::PATCH,
            "/api/v1/channels/my-show",
            Some(json!({"title": "Ours"})),
            1,
            StatusCode::OK,
        ),
        (
            Method::GET,
            "/api/v1/channels/my-show/keys",
            None,
            0,
            StatusCode::OK,
        ),
        (
            Method::POST,
            "/api/v1/channels/my-show/keys",
            Some(json!({"name": "x"})),
            2,
            StatusCode::CREATED,
        ),
        (
            Method::DELETE,
            "/api/v1/channels/my-show/keys/1",
            None,
            2,
            StatusCode::NO_CONTENT,
        ),
        (
            Method::DELETE,
            "/api/v1/channels/my-show",
            None,
            1,
            StatusCode::NO_CONTENT,
        ),
    ];
    for (method, path, body, holder, status) in calls {
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| *at != holder) {
            let (got, _) = service
                .ask(method.clone(), path, Some(token), body.clone())
                .await?;
            assert_eq!(got, StatusCode::FORBIDDEN, "{method} {path} with {at}");
        }
        let (got, reply) = service
            .ask(method.clone(), path, Some(&tokens[holder]), body)
            .await?;
        assert_eq!(got, status, "{method} {path} {reply}");
        if path == "/api/v1/channels" && method == Method::GET {
            assert_eq!(
                reply["channels"].as_array().map(Vec::len),
                Some(1),
                "no others: {reply}"
            );
        }
    }
    let foreign = "/api/v1/channels/demo/keys";
    assert_eq!(
        service
            .ask(Method::GET, foreign, Some(&tokens[0]), None)
            .await?
            .0,
        StatusCode::NOT_FOUND
    );
    let account = service.accounts.operator().account_of(ANN).await?;
    let id = service.accounts.tokens_of(&account).await?[2].id;
    ann.act(&format!("/account/tokens/{id}/revoke"), &[])
        .await?;
    let (status, _) = service
        .ask(Method::GET, "/api/v1/channels", Some(&tokens[0]), None)
        .await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    Ok(())
}

async fn only_administrators_administer(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut ann = Browser::member(&service, &sink, ANN).await?;
    Browser::signed_up(&service, &sink, BOB).await?;
    let operator = service.accounts.operator();
    let bob = operator.account_of(BOB).await?.id.to_hex();
    let approve = [("ticked", bob.as_str())];
    assert_eq!(ann.get("/admin").await?.status, StatusCode::NOT_FOUND);
    assert_eq!(
        ann.act("/admin/approve", &approve).await?.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(operator.beta().await?.waiting, 1);
    operator.promote(operator.account_of(ANN).await?.id).await?;
    assert!(ann.get("/admin").await?.text.contains(BOB));
    assert_eq!(
        ann.act("/admin/approve", &approve).await?.location,
        "/admin"
    );
    assert_eq!(operator.beta().await?.waiting, 0);
    let typed = [("note", "the club"), ("uses", "2"), ("days", "3")];
    let page = ann.act("/admin/invite", &typed).await?;
    assert!(page.text.contains("/signup?invitation="), "{}", page.text);
    assert!(ann.get("/admin").await?.text.contains("the club"));
    let page = ann
        .act(
            "/admin/invite",
            &[("note", "the club"), ("uses", "0"), ("days", "x")],
        )
        .await?;
    assert!(page.text.contains("from 1 to 10000") && page.text.contains("value=\"the club\""));
    Ok(())
}

async fn no_page_is_heavy(place: Place) -> Result<()> {
    let (service, sink) = Service::with_mail(place).await?;
    let mut ann = Browser::member(&service, &sink, ANN).await?;
    let operator = service.accounts.operator();
    operator.promote(operator.account_of(ANN).await?.id).await?;
    ann.act("/dashboard", &[("name", "my-show")]).await?;
    let mut stranger = Browser::new(&service)?;
    for path in [
        "/",
        "/my-show",
        "/signup",
        "/login",
        "/login/forgot",
        "/nothing",
    ] {
        weigh(&mut stranger, path).await?;
    }
    for path in ["/dashboard", "/dashboard/my-show", "/account", "/admin"] {
        weigh(&mut ann, path).await?;
    }
    Ok(())
}

/// The page with all that it loads, uncompressed; and that it has no script or style of its own.
async fn weigh(browser: &mut Browser, path: &str) -> Result<()> {
    let page = browser.get(path).await?;
    let mut bytes = page.text.len();
    for bad in [
        "style=",
        "<style",
        " onclick",
        " onload",
        "javascript:",
        "{{",
        "{%",
    ] {
        assert!(!page.text.contains(bad), "{path} holds {bad}");
    }
    for once in ["<h1", "<main id=\"main\"", "lang=\"en\"", "<title>"] {
        assert_eq!(page.text.matches(once).count(), 1, "{path}: {once}");
    }
    let mut files: Vec<&str> = page.text.split("=\"/assets/").skip(1).collect();
    files
        .iter_mut()
        .for_each(|file| *file = file.split('"').next().unwrap_or_default());
    files.sort_unstable();
    files.dedup();
    for file in files {
        bytes += browser.get(&format!("/assets/{file}")).await?.text.len();
    }
    assert!(bytes <= 100_000, "{path}: {bytes} bytes");
    Ok(())
}
