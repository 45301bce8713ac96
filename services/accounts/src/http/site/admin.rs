//! The operator's page: who waits, invitations, how the mail gets away. Whoever is no
//! administrator finds nothing here.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::{
    Shell,
    field::Field,
    fields::Fields,
    go_to,
    moment::Moment,
    page,
    stop::Stop,
    told::Told,
    visitor::{Administrator, AdministratorPosted, Member},
};
use crate::{Account, AccountId, Accounts, Beta, Error, Fault, Faults};

/// As many as the list shows.
const BATCH_MAX: usize = 200;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.route("/admin", web::get().to(show))
        .route("/admin/approve", web::post().to(approve))
        .route("/admin/next", web::post().to(approve_next))
        .route("/admin/invite", web::post().to(invite));
}

#[derive(Template)]
#[template(path = "admin.html")]
struct Page<'a> {
    shell: Shell<'a>,
    notice: Option<String>,
    code: Option<String>,
    link: String,
    beta: Beta,
    waiting: Vec<Row>,
    approved: Vec<Row>,
    invitations: Vec<InvitationRow>,
    count: Field,
    note: Field,
    uses: Field,
    days: Field,
}

struct Row {
    id: String,
    email: String,
    since: Moment,
    administrator: bool,
}

struct InvitationRow {
    note: String,
    left: i64,
    until: Moment,
}

#[derive(Default)]
struct Came {
    form: &'static str,
    told: Told,
    code: Option<String>,
}

async fn show(
    accounts: web::Data<Accounts>,
    administrator: Administrator,
) -> Result<HttpResponse, Stop> {
    shown(
        &accounts,
        &administrator.0,
        &Fields::default(),
        Came::default(),
    )
    .await
}

async fn approve(
    accounts: web::Data<Accounts>,
    posted: AdministratorPosted,
) -> Result<HttpResponse, Stop> {
    let operator = accounts.operator();
    let ticked = posted.0.fields.ticked().filter_map(AccountId::from_hex);
    for id in ticked.take(BATCH_MAX) {
        operator.approve(id).await?;
    }
    Ok(go_to("/admin"))
}

async fn approve_next(
    accounts: web::Data<Accounts>,
    posted: AdministratorPosted,
) -> Result<HttpResponse, Stop> {
    let fields = &posted.0.fields;
    match fields.get("count").trim().parse() {
        Ok(count @ 1..=BATCH_MAX) => {
            accounts.operator().approve_next(count).await?;
            Ok(go_to("/admin"))
        }
        _ => {
            let fault = Fault("From 1 to 200 at once.");
            let came = Came {
                form: "next",
                told: Told::of(Error::Form(Faults::one("count", fault)))?,
                code: None,
            };
            shown(&accounts, &posted.0.member, fields, came).await
        }
    }
}

async fn invite(
    accounts: web::Data<Accounts>,
    posted: AdministratorPosted,
) -> Result<HttpResponse, Stop> {
    let fields = &posted.0.fields;
    let number = |name: &str| fields.get(name).trim().parse().unwrap_or(0);
    let operator = accounts.operator();
    let made = operator.invite(fields.get("note"), number("uses"), number("days"));
    let came = match made.await {
        Ok(code) => Came {
            code: Some(code.reveal().to_owned()),
            ..Came::default()
        },
        Err(error) => Came {
            form: "invite",
            told: Told::of(error)?,
            code: None,
        },
    };
    shown(&accounts, &posted.0.member, fields, came).await
}

async fn shown(
    accounts: &Accounts,
    member: &Member,
    fields: &Fields,
    came: Came,
) -> Result<HttpResponse, Stop> {
    let field = |form: &str, field: Field, first: &str| match came.form == form {
        true => field.typed(fields, &came.told),
        false => field.value(first),
    };
    let row = |account: Account| Row {
        id: account.id.to_hex(),
        since: Moment::of(
            account
                .approved_at
                .unwrap_or(account.confirmed_at_ms / 1000),
        ),
        administrator: account.administrator,
        email: account.email.as_str().to_owned(),
    };
    let operator = accounts.operator();
    let invitations = operator.invitations().await?;
    let code = came.code.clone();
    let shown = Page {
        shell: member.shell(),
        notice: came.told.notice.clone(),
        link: format!(
            "{}/signup?invitation={}",
            accounts.0.site,
            code.as_deref().unwrap_or_default()
        ),
        code,
        beta: operator.beta().await?,
        waiting: operator
            .waiting_list()
            .await?
            .into_iter()
            .map(row)
            .collect(),
        approved: operator.approved().await?.into_iter().map(row).collect(),
        invitations: invitations
            .into_iter()
            .map(|invitation| InvitationRow {
                left: invitation.uses - invitation.used,
                until: Moment::of(invitation.expires_at),
                note: invitation.note,
            })
            .collect(),
        count: field(
            "next",
            Field::new("next", "count", "How many").kind("number", "off"),
            "10",
        ),
        note: field(
            "invite",
            Field::new("invite", "note", "For whom").optional(),
            "",
        ),
        uses: field(
            "invite",
            Field::new("invite", "uses", "Lets in").kind("number", "off"),
            "1",
        ),
        days: field(
            "invite",
            Field::new("invite", "days", "Days").kind("number", "off"),
            "14",
        ),
    };
    page(came.told.status, &shown)
}
