//! The gRPC contracts between the services. Their `.proto` files, with what each side
//! must do, stand in `proto/livestation/`; these are the types generated from them,
//! which stay at the services' edges; [`access`] says who may call what.

pub mod access;

/// Who may publish, and whose signature viewers trust.
#[expect(missing_docs, reason = "the .proto comments are the documentation")]
pub mod accounts {
    tonic::include_proto!("livestation.accounts");
}
/// Fragments in.
#[expect(missing_docs, reason = "the .proto comments are the documentation")]
pub mod encoder {
    tonic::include_proto!("livestation.encoder");
}
/// Which instances run.
#[expect(missing_docs, reason = "the .proto comments are the documentation")]
pub mod registry {
    tonic::include_proto!("livestation.registry");
}
/// Coded generations in.
#[expect(missing_docs, reason = "the .proto comments are the documentation")]
pub mod seeder {
    tonic::include_proto!("livestation.seeder");
}
/// Swarm sessions of seeders, and figures.
#[expect(missing_docs, reason = "the .proto comments are the documentation")]
pub mod tracker {
    tonic::include_proto!("livestation.tracker");
}
