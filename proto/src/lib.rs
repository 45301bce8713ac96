//! The gRPC contracts between the services. Their `.proto` files, with what each side
//! must do, stand in `proto/livestation/`; these are the types generated from them,
//! which stay at the services' edges.

#![expect(
    missing_docs,
    reason = "generated: the .proto comments are the documentation"
)]

/// Who may publish, and whose signature viewers trust.
pub mod accounts {
    tonic::include_proto!("livestation.accounts");
}
/// Fragments in.
pub mod encoder {
    tonic::include_proto!("livestation.encoder");
}
/// Coded generations in.
pub mod seeder {
    tonic::include_proto!("livestation.seeder");
}
/// Swarm sessions of seeders, and figures.
pub mod tracker {
    tonic::include_proto!("livestation.tracker");
}
