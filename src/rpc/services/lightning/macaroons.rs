//! The macaroon calls: bake, list, delete, and check.

use std::collections::BTreeMap;

use bitcoin::hex::DisplayHex;
use tonic::Status;

use crate::rpc::Context;
use crate::rpc::bakery::URI;
use crate::rpc::transport::macaroon_files::known_operations;
use crate::rpc::transport::methods::METHODS;
use lnd_api::proto::lnrpc;
use lnd_macaroon::Operations;
use lnd_macaroon::caveat::Call;

pub(super) async fn bake(
    context: &Context,
    request: lnrpc::BakeMacaroonRequest,
) -> Result<lnrpc::BakeMacaroonResponse, Status> {
    if request.permissions.is_empty() {
        return Err(Status::unknown(format!(
            "permission list cannot be empty. specify at least one action/entity pair. {}",
            help()
        )));
    }
    if !request.allow_external_permissions {
        request.permissions.iter().try_for_each(check)?;
    }
    let pairs = request.permissions.into_iter();
    let operations: Operations = pairs.map(|pair| (pair.entity, pair.action)).collect();
    let baked = context.bakery.bake(operations, request.root_key_id).await;
    let macaroon = baked.map_err(|error| Status::internal(error.to_string()))?;
    Ok(lnrpc::BakeMacaroonResponse {
        macaroon: macaroon.encode().to_lower_hex_string(),
    })
}

/// Refuses permissions that no method requires, most likely typing errors.
fn check(permission: &lnrpc::MacaroonPermission) -> Result<(), Status> {
    let (entity, action) = (&*permission.entity, &*permission.action);
    if entity == URI {
        return match METHODS.contains_key(action) {
            true => Ok(()),
            false => Err(Status::unknown(format!(
                "invalid permission action, must be one of the known methods, not {action:?}"
            ))),
        };
    }
    let known = known_operations().find(|(known, _)| *known == entity);
    let Some((_, actions)) = known else {
        return Err(Status::unknown(format!(
            "invalid permission entity. {}",
            help()
        )));
    };
    match actions.contains(&action) {
        true => Ok(()),
        false => Err(Status::unknown(format!(
            "invalid permission action. {}",
            help()
        ))),
    }
}

fn help() -> String {
    let entities: Vec<_> = known_operations().map(|(entity, _)| entity).collect();
    format!(
        "supported actions are [read write generate], supported entities are [{} {URI}]",
        entities.join(" ")
    )
}

pub(super) fn ids(context: &Context) -> lnrpc::ListMacaroonIDsResponse {
    lnrpc::ListMacaroonIDsResponse {
        root_key_ids: context.bakery.root_key_ids(),
    }
}

pub(super) async fn delete(
    context: &Context,
    request: &lnrpc::DeleteMacaroonIdRequest,
) -> Result<lnrpc::DeleteMacaroonIdResponse, Status> {
    let deleted = context.bakery.delete(request.root_key_id).await;
    let deleted = deleted.map_err(|error| Status::unknown(error.to_string()))?;
    Ok(lnrpc::DeleteMacaroonIdResponse { deleted })
}

pub(super) fn permissions() -> lnrpc::ListPermissionsResponse {
    let guarded = METHODS.values().filter(|method| !method.allow.is_empty());
    let permissions = guarded.map(|method| {
        let pairs = method.allow.iter().cloned();
        let permissions =
            pairs.map(|(entity, action)| lnrpc::MacaroonPermission { entity, action });
        let list = lnrpc::MacaroonPermissionList {
            permissions: permissions.collect(),
        };
        (method.path.clone(), list)
    });
    lnrpc::ListPermissionsResponse {
        method_permissions: permissions.collect::<BTreeMap<_, _>>(),
    }
}

/// Checks a macaroon's permissions. As in lnd, its caveats are checked against `call`, the client's own call.
pub(super) fn is_allowed(
    context: &Context,
    request: &lnrpc::CheckMacPermRequest,
    call: &Call,
) -> Result<lnrpc::CheckMacPermResponse, Status> {
    let required = required(request)?;
    let checked = match required.is_empty() {
        true => context.bakery.check_caveats(&request.macaroon, call),
        false => {
            let method = &request.full_method;
            context
                .bakery
                .check(&request.macaroon, &required, method, call)
        }
    };
    checked.map_err(|refusal| Status::invalid_argument(refusal.to_string()))?;
    Ok(lnrpc::CheckMacPermResponse { valid: true })
}

fn required(request: &lnrpc::CheckMacPermRequest) -> Result<Vec<(&str, &str)>, Status> {
    if !request.check_default_perms_from_full_method {
        let pairs = request.permissions.iter();
        return Ok(pairs.map(|pair| (&*pair.entity, &*pair.action)).collect());
    }
    if !request.permissions.is_empty() {
        return Err(Status::unknown(
            "cannot check default permissions from full method and from provided permission list \
             at the same time",
        ));
    }
    if request.full_method.is_empty() {
        return Err(Status::unknown(
            "cannot check default permissions from full method without providing the full method name",
        ));
    }
    let method = METHODS.get(&request.full_method);
    method.map(|method| method.required()).ok_or_else(|| {
        let name = &request.full_method;
        Status::unknown(format!("no permissions found for full method {name}"))
    })
}
