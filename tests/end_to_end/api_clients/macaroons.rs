//! Permissions and caveats of macaroons.

use anyhow::{Context, Result, ensure};
use bitcoin::hex::{DisplayHex, FromHex};
use lnd_api::proto::lnrpc::{
    BakeMacaroonRequest, CheckMacPermRequest, DeleteMacaroonIdRequest, ListMacaroonIDsRequest,
    MacaroonPermission,
};
use lnd_macaroon::Macaroon;
use regtest::api::{Api, Server};
use regtest::network::Network;
use regtest::node::Software::Ampd;

use crate::binaries;

#[tokio::test]
async fn macaroons_are_restricted_by_caveats_and_revoked_by_deleting_the_root_key() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let api = node.api()?;
    let request = BakeMacaroonRequest {
        permissions: vec![MacaroonPermission {
            entity: "info".into(),
            action: "read".into(),
        }],
        root_key_id: 7,
        allow_external_permissions: false,
    };
    let baked = api
        .lightning
        .clone()
        .bake_macaroon(request)
        .await?
        .into_inner()
        .macaroon;
    let narrowed = |caveat: &str| -> Result<String> {
        let macaroon = Macaroon::decode(&Vec::from_hex(&baked)?)?;
        Ok(macaroon.with_caveat(caveat).encode().to_lower_hex_string())
    };
    let certificate = node.certificate()?;
    let as_owner_of = |macaroon: &str| {
        let server = Server {
            address: node.rpc_address()?,
            host: "localhost",
            certificate: &certificate,
        };
        Api::new(&server, Some(macaroon))
    };
    as_owner_of(&baked)?.info().await?;
    as_owner_of(&narrowed("ipaddr 127.0.0.1")?)?.info().await?;
    for (caveat, why) in [
        ("ipaddr 10.0.0.1", "locked to different IP address"),
        ("time-before 2020-01-01T00:00:00Z", "macaroon has expired"),
        ("sometimes", "caveat not recognized"),
    ] {
        let refused = as_owner_of(&narrowed(caveat)?)?.info().await;
        let refused = refused.err().context(caveat)?;
        ensure!(refused.message().contains(why), "{refused}");
    }
    let weak = as_owner_of(&baked)?
        .channels()
        .await
        .err()
        .context("the macaroon lacks the permission")?;
    assert_eq!(weak.message(), "permission denied");
    let mut lightning = api.lightning.clone();
    let ids = lightning
        .list_macaroon_i_ds(ListMacaroonIDsRequest {})
        .await?;
    assert_eq!(ids.into_inner().root_key_ids, [0, 7]);
    let check = CheckMacPermRequest {
        macaroon: Vec::from_hex(&baked)?,
        full_method: "/lnrpc.Lightning/GetInfo".into(),
        check_default_perms_from_full_method: true,
        ..CheckMacPermRequest::default()
    };
    assert!(
        api.lightning
            .clone()
            .check_macaroon_permissions(check)
            .await?
            .get_ref()
            .valid
    );
    let delete = DeleteMacaroonIdRequest { root_key_id: 7 };
    assert!(
        api.lightning
            .clone()
            .delete_macaroon_id(delete)
            .await?
            .get_ref()
            .deleted
    );
    let refused = as_owner_of(&baked)?
        .info()
        .await
        .err()
        .context("its root key is deleted")?;
    assert_eq!(
        refused.message(),
        "verification failed: macaroon not found in storage"
    );
    network.finish();
    Ok(())
}
