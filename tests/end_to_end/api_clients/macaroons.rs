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
use regtest::node::Node;
use regtest::node::Software::Ampd;

use crate::binaries;

/// Id of the root key of the macaroons in these tests.
const ROOT_KEY: u64 = 7;

#[tokio::test]
async fn macaroons_are_restricted_by_caveats() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let baked = bake(&node.api()?).await?;
    let narrowed = |caveat: &str| -> Result<String> {
        let macaroon = Macaroon::decode(&Vec::from_hex(&baked)?)?;
        Ok(macaroon.with_caveat(caveat).encode().to_lower_hex_string())
    };
    owner_of(&baked, node)?.info().await?;
    let here = narrowed("ipaddr 127.0.0.1")?;
    owner_of(&here, node)?.info().await?;
    for (caveat, why) in [
        ("ipaddr 10.0.0.1", "locked to different IP address"),
        ("time-before 2020-01-01T00:00:00Z", "macaroon has expired"),
        ("sometimes", "caveat not recognized"),
    ] {
        let refused = owner_of(&narrowed(caveat)?, node)?.info().await;
        let refused = refused.err().context(caveat)?;
        ensure!(refused.message().contains(why), "{refused}");
    }
    let refused = owner_of(&baked, node)?.channels().await;
    let refused = refused.err().context("the macaroon lacks the permission")?;
    assert_eq!(refused.message(), "permission denied");
    network.finish();
    Ok(())
}

#[tokio::test]
async fn macaroons_are_revoked_by_deleting_the_root_key() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let api = node.api()?;
    let baked = bake(&api).await?;
    let mut lightning = api.lightning.clone();
    let ids = lightning.list_macaroon_i_ds(ListMacaroonIDsRequest {});
    assert_eq!(ids.await?.into_inner().root_key_ids, [0, ROOT_KEY]);
    let check = CheckMacPermRequest {
        macaroon: Vec::from_hex(&baked)?,
        full_method: "/lnrpc.Lightning/GetInfo".into(),
        check_default_perms_from_full_method: true,
        ..CheckMacPermRequest::default()
    };
    let checked = lightning.check_macaroon_permissions(check).await?;
    assert!(checked.get_ref().valid);
    let request = DeleteMacaroonIdRequest {
        root_key_id: ROOT_KEY,
    };
    let deleted = lightning.delete_macaroon_id(request).await?;
    assert!(deleted.get_ref().deleted);
    let refused = owner_of(&baked, node)?.info().await;
    let refused = refused.err().context("its root key is deleted")?;
    assert_eq!(
        refused.message(),
        "verification failed: macaroon not found in storage"
    );
    network.finish();
    Ok(())
}

/// Returns a macaroon, in hex, that allows to read `info`, from the root key [`ROOT_KEY`].
async fn bake(api: &Api) -> Result<String> {
    let request = BakeMacaroonRequest {
        permissions: vec![MacaroonPermission {
            entity: "info".into(),
            action: "read".into(),
        }],
        root_key_id: ROOT_KEY,
        allow_external_permissions: false,
    };
    let baked = api.lightning.clone().bake_macaroon(request).await?;
    Ok(baked.into_inner().macaroon)
}

/// Returns the client of the owner of this macaroon.
fn owner_of(macaroon: &str, node: &Node) -> Result<Api> {
    let certificate = node.certificate()?;
    let server = Server {
        address: node.rpc_address()?,
        host: "localhost",
        certificate: &certificate,
    };
    Api::new(&server, Some(macaroon))
}
