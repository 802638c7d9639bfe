//! Macaroons: `bakemacaroon`, `listmacaroonids`, `deletemacaroonid`, `listpermissions`.

use bitcoin::hex::FromHex;
use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::macaroon_files::{Restrictions, save, show};
use super::output::print;
use lnd_api::proto::lnrpc::{
    BakeMacaroonRequest, DeleteMacaroonIdRequest, ListMacaroonIDsRequest, ListPermissionsRequest,
    MacaroonPermission,
};
use lnd_macaroon::Macaroon;

/// Bake a macaroon with permissions such as `info:read` or `uri:/lnrpc.Lightning/GetInfo`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct BakeMacaroon {
    /// Permissions (entity:action) of the macaroon, as printed by listpermissions
    #[arg(required = true, value_parser = permission)]
    permissions: Vec<MacaroonPermission>,
    /// ID of the root key; deleting the key (deletemacaroonid) revokes the macaroon
    #[arg(long, default_value_t = 0)]
    root_key_id: u64,
    /// Allow permissions that ampd does not know
    #[arg(long)]
    allow_external_permissions: bool,
    /// Output file for the macaroon [default: print it in hex]
    #[arg(long, value_name = "FILE")]
    save_to: Option<String>,
    #[command(flatten)]
    restrictions: Restrictions,
}

impl BakeMacaroon {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = BakeMacaroonRequest {
            permissions: self.permissions,
            root_key_id: self.root_key_id,
            allow_external_permissions: self.allow_external_permissions,
        };
        let baked = node.lightning.bake_macaroon(request).await?.into_inner();
        let macaroon = Vec::from_hex(&baked.macaroon).ok();
        let macaroon = macaroon.and_then(|bytes| Macaroon::decode(&bytes).ok());
        let Some(macaroon) = macaroon else {
            return error("the node's response has no valid macaroon");
        };
        let macaroon = self.restrictions.added_to(macaroon);
        match self.save_to {
            Some(path) => save(&macaroon, &path),
            None => show(&macaroon),
        }
    }
}

fn permission(text: &str) -> Result<MacaroonPermission, String> {
    let parts = text.split_once(':');
    match parts {
        Some((entity, action)) if !entity.is_empty() && !action.is_empty() => {
            Ok(MacaroonPermission {
                entity: entity.to_owned(),
                action: action.to_owned(),
            })
        }
        _ => Err("expected entity:action, such as info:read".to_owned()),
    }
}

/// List the IDs of the macaroon root keys.
#[derive(Debug, Args)]
pub(crate) struct ListMacaroonIds {}

impl ListMacaroonIds {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let ids = node.lightning.list_macaroon_i_ds(ListMacaroonIDsRequest {});
        print(ids.await?.get_ref())
    }
}

/// Delete a macaroon root key, which revokes all macaroons derived from it.
#[derive(Debug, Args)]
pub(crate) struct DeleteMacaroonId {
    /// ID of the root key
    root_key_id: u64,
}

impl DeleteMacaroonId {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = DeleteMacaroonIdRequest {
            root_key_id: self.root_key_id,
        };
        let answer = node.lightning.delete_macaroon_id(request).await?;
        if !answer.get_ref().deleted {
            return error(format!("root key {} does not exist", self.root_key_id));
        }
        print(answer.get_ref())
    }
}

/// List the permissions required by each RPC method.
#[derive(Debug, Args)]
pub(crate) struct ListPermissions {}

impl ListPermissions {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let permissions = node.lightning.list_permissions(ListPermissionsRequest {});
        print(permissions.await?.get_ref())
    }
}
