//! What the other services are answered, and what a restart keeps.

use accounts::{ChannelName, PLAY_OUT_DELAY_MS};
use boot::ticket::Share;
use proto::accounts::{AuthorizeRequest, CertifyEpochRequest, RevokedRequest, StreamKey};
use tonic::Code;

use crate::{place::Place, service::Service};

on_both! {
    a_channel_has_a_hundred_good_keys_and_not_one_more
    a_good_key_authorises_and_a_wrong_or_revoked_one_does_not
    an_epoch_is_certified_so_that_viewers_can_verify_it
    a_key_that_is_revoked_replaced_or_gone_is_named
    a_restart_keeps_channels_keys_tickets_and_tokens
}

async fn a_good_key_authorises_and_a_wrong_or_revoked_one_does_not(
    place: Place,
) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    let channel = service.channel("demo").await?;
    let (id, key) = service.accounts.create_stream_key(&channel).await?;
    let mut grpc = service.grpc().await?;
    let mut authorize = async |stream_key: &str| {
        let request = AuthorizeRequest {
            stream_key: stream_key.into(),
            protocol: "rtmp".into(),
        };
        grpc.authorize(request)
            .await
            .map(|reply| reply.into_inner().channel)
    };

    let granted = authorize(key.reveal()).await?.unwrap_or_default();
    assert_eq!(granted.id[..], channel.id);
    assert_eq!(granted.name, "demo");
    assert_eq!(granted.public_key[..], channel.public_key());
    assert_eq!(granted.play_out_delay_ms, 1800);

    let altered = key.reveal().replace("ls_", "ls_A");
    for wrong in ["", "ls_", "ls_wrong", &altered, &"x".repeat(10_000)] {
        let refused = authorize(wrong).await.err().map(|status| status.code());
        assert_eq!(
            refused,
            Some(Code::Unauthenticated),
            "{} bytes",
            wrong.len()
        );
    }

    service.accounts.revoke_stream_key(&channel, id).await?;
    let refused = authorize(key.reveal())
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(refused, Some(Code::Unauthenticated));
    service.shutdown.cancel();
    Ok(())
}

async fn a_key_that_is_revoked_replaced_or_gone_is_named(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    let accounts = &service.accounts;
    let (channel, other) = (
        service.channel("demo").await?,
        service.channel("other").await?,
    );
    let (good, key) = accounts.create_stream_key(&channel).await?;
    let (revoked, _) = accounts.create_stream_key(&channel).await?;
    let (replaced, _) = accounts.create_stream_key(&channel).await?;
    let (gone, _) = accounts.create_stream_key(&other).await?;
    let mut grpc = service.grpc().await?;
    let granted = grpc.authorize(AuthorizeRequest {
        stream_key: key.reveal().into(),
        protocol: "srt".into(),
    });
    assert_eq!(granted.await?.into_inner().key_id, good);

    let key_of = |channel: &accounts::Channel, id: i64| StreamKey {
        channel_id: channel.id.to_vec().into(),
        id,
    };
    let all = [
        key_of(&channel, good),
        key_of(&channel, revoked),
        key_of(&channel, replaced),
        key_of(&other, gone),
    ];
    let mut named = async |keys: &[StreamKey]| {
        let keys = keys.to_vec();
        let reply = grpc.revoked(RevokedRequest { keys }).await;
        reply
            .map(|reply| reply.into_inner().keys)
            .map_err(|status| status.code())
    };
    assert_eq!(named(&all[..0]).await, Ok(vec![]));
    assert_eq!(named(&all[..]).await, Ok(vec![]));
    accounts.revoke_stream_key(&channel, revoked).await?;
    accounts.delete_channel(&other).await?;
    // SQLite gives the id of the key that is gone to this one.
    accounts.rotate_key(&channel, replaced).await?;
    assert_eq!(named(&all[..]).await, Ok(all[1..].to_vec()));

    // As many as there may be, of the longest.
    let many: Vec<_> = (0..257)
        .map(|less| key_of(&channel, i64::MAX - less))
        .collect();
    assert_eq!(named(&many[1..]).await, Ok(many[1..].to_vec()));
    assert_eq!(named(&many[..]).await, Err(Code::InvalidArgument));
    service.shutdown.cancel();
    Ok(())
}

async fn an_epoch_is_certified_so_that_viewers_can_verify_it(place: Place) -> anyhow::Result<()> {
    let service = Service::start(place).await?;
    let channel = service.channel("demo").await?;
    let mut grpc = service.grpc().await?;
    let id = stripe::ChannelId(channel.id);
    let public_key = stripe::EpochSigner::new(id, 7, &[1; 32]).public_key();
    let request = CertifyEpochRequest {
        channel_id: channel.id.to_vec().into(),
        epoch: 7,
        epoch_public_key: public_key.to_vec().into(),
    };
    let signature = grpc
        .certify_epoch(request.clone())
        .await?
        .into_inner()
        .signature;
    let certificate = stripe::EpochCertificate {
        channel: id,
        epoch: 7,
        public_key,
        signature: signature[..].try_into()?,
    };
    assert!(certificate.verify(id, &channel.public_key()).is_ok());

    let unknown = CertifyEpochRequest {
        channel_id: vec![9; 16].into(),
        ..request.clone()
    };
    let short = CertifyEpochRequest {
        epoch_public_key: vec![1; 31].into(),
        ..request
    };
    let refused = grpc
        .certify_epoch(unknown)
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(refused, Some(Code::NotFound));
    let refused = grpc
        .certify_epoch(short)
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(refused, Some(Code::InvalidArgument));
    service.shutdown.cancel();
    Ok(())
}

async fn a_restart_keeps_channels_keys_tickets_and_tokens(place: Place) -> anyhow::Result<()> {
    let first = place.open(None).await?;
    let name = ChannelName::parse("demo")?;
    let channel = first
        .create_channel(name, PLAY_OUT_DELAY_MS, Share::Off)
        .await?;
    let (_, key) = first.create_stream_key(&channel).await?;
    let token = first.create_api_token().await?;
    let ticket = first.issue_ticket(&channel)?;
    first.close().await;

    let second = place.open(Some("https://live.example")).await?;
    let again = second.authorize(key.reveal()).await?.channel;
    assert_eq!(again.id, channel.id);
    assert_eq!(again.public_key(), channel.public_key());
    assert_eq!(again.share, Share::Off);
    assert!(second.is_api_token(token.reveal()).await?);
    assert!(!second.is_api_token(key.reveal()).await?);
    assert_eq!(
        second.ticket_verifier().verify(&ticket)?.channel_id,
        channel.id
    );
    Ok(())
}

async fn a_channel_has_a_hundred_good_keys_and_not_one_more(place: Place) -> anyhow::Result<()> {
    let accounts = place.open(None).await?;
    let name = ChannelName::parse("demo")?;
    let channel = accounts
        .create_channel(name, PLAY_OUT_DELAY_MS, Share::Allowed)
        .await?;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(accounts.create_stream_key(&channel).await?.0);
    }
    let full = accounts.create_stream_key(&channel).await.err();
    assert!(matches!(full, Some(accounts::Error::Invalid(_))));
    accounts.revoke_stream_key(&channel, ids[7]).await?;
    let (id, _) = accounts.create_stream_key(&channel).await?;
    let listed = accounts.stream_keys(&channel).await?;
    assert_eq!((listed.len(), listed[0].id), (101, id), "newest first");
    assert_eq!(
        listed.iter().filter(|key| key.revoked_at.is_some()).count(),
        1
    );
    Ok(())
}
