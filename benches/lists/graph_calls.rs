//! The calls about the network graph, and routes through it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::{
    ChannelGraphRequest, NetworkInfoRequest, NodeInfoRequest, QueryRoutesRequest,
};
use regtest::api::Api;
use tokio::sync::oneshot;

use super::graph::{self, GraphSize};
use super::nodes::Nodes;
use crate::common::memory_mb;

const SMALL: GraphSize = GraphSize {
    channels: 40,
    nodes: 15,
};
/// About the size of the public network.
const LARGE: GraphSize = GraphSize {
    channels: 40_000,
    nodes: 15_000,
};

const SAMPLES: u64 = 20;

/// Prints the times of all calls with a small and a large graph; returns how long gossip waits (p99) while
/// the large one is read.
pub(crate) async fn measure(nodes: &mut Nodes) -> Result<Duration> {
    println!();
    nodes.set_graphs([SMALL, LARGE]).await?;
    let pair = nodes.pair()?;
    println!(
        "\n{:<52} {:>11} {:>11}",
        format!("p50 of {SAMPLES}"),
        "small",
        "large"
    );
    report("DescribeGraph", async |size| {
        describe(pair.of(size), size).await
    })
    .await?;
    report("DescribeGraph, REST", async |size| {
        let rest = nodes.rest(name(size))?;
        let answer = rest.get("/v1/graph?include_unannounced=true").await?;
        ensure!(answer.status == 200, "{}", answer.text);
        Ok(())
    })
    .await?;
    report(
        "GetNodeInfo with channels, best connected node",
        async |size| node_info(pair.of(size), 0).await,
    )
    .await?;
    report("GetNetworkInfo", async |size| {
        let mut lightning = pair.of(size).lightning.clone();
        let found = lightning.get_network_info(NetworkInfoRequest {}).await;
        Ok(found.map(drop)?)
    })
    .await?;
    let mut target = 0;
    report("QueryRoutes", async |size| {
        target += 1;
        query_routes(pair.of(size), target % size.nodes).await
    })
    .await?;
    meanwhile(nodes).await?;
    let pid = nodes.node("large").pid()?.to_string();
    println!(
        "peak memory of the node with the large graph: {} MB",
        memory_mb(&pid, "VmHWM")?
    );
    graph::measure_wait(LARGE)
}

impl crate::Pair {
    fn of(&self, size: GraphSize) -> &Api {
        match name(size) {
            "small" => &self.small,
            _ => &self.large,
        }
    }
}

fn name(size: GraphSize) -> &'static str {
    match size.nodes {
        nodes if nodes == SMALL.nodes => "small",
        _ => "large",
    }
}

async fn report(what: &str, mut call: impl AsyncFnMut(GraphSize) -> Result<()>) -> Result<()> {
    let mut medians = Vec::new();
    for size in [SMALL, LARGE] {
        let mut times = Vec::new();
        for _ in 0..SAMPLES {
            let start = Instant::now();
            call(size).await?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        medians.push(times[times.len() / 2].as_secs_f64() * 1e3);
    }
    println!("{what:<52} {:>8.2} ms {:>8.2} ms", medians[0], medians[1]);
    Ok(())
}

async fn describe(api: &Api, size: GraphSize) -> Result<()> {
    let request = ChannelGraphRequest::default();
    let graph = api
        .lightning
        .clone()
        .describe_graph(request)
        .await?
        .into_inner();
    let edges = graph.edges.len() as u64;
    ensure!(edges >= size.channels, "{edges} channels");
    Ok(())
}

async fn node_info(api: &Api, node: u64) -> Result<()> {
    let request = NodeInfoRequest {
        pub_key: graph::key(node)?.to_string(),
        include_channels: true,
        ..Default::default()
    };
    Ok(api
        .lightning
        .clone()
        .get_node_info(request)
        .await
        .map(drop)?)
}

async fn query_routes(api: &Api, node: u64) -> Result<()> {
    let request = QueryRoutesRequest {
        pub_key: graph::key(node)?.to_string(),
        amt: 1_000,
        use_mission_control: true,
        ..Default::default()
    };
    let found = api
        .lightning
        .clone()
        .query_routes(request)
        .await?
        .into_inner();
    ensure!(found.routes.len() == 1);
    Ok(())
}

/// Prints the response times of GetInfo while clients download the large graph.
async fn meanwhile(nodes: &Nodes) -> Result<()> {
    let api = nodes.node("large").api()?;
    for kind in ["gRPC", "REST"] {
        let (rest, client) = (nodes.rest("large")?, api.clone());
        let (end, mut ended) = oneshot::channel();
        let downloads = tokio::spawn(async move {
            for _ in 0..SAMPLES / 4 {
                match kind {
                    "REST" => rest.get("/v1/graph").await.map(drop)?,
                    _ => describe(&client, LARGE).await?,
                }
            }
            let _ = end.send(());
            anyhow::Ok(())
        });
        let mut times = Vec::new();
        while ended.try_recv().is_err() && !downloads.is_finished() {
            let start = Instant::now();
            api.info().await?;
            times.push(start.elapsed());
        }
        downloads.await??;
        times.sort_unstable();
        let ms = |place: usize| times[place].as_secs_f64() * 1e3;
        let last = times.len() - 1;
        println!(
            "GetInfo during DescribeGraph, {kind}: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
            ms(last / 2),
            ms(last * 99 / 100),
            ms(last)
        );
    }
    Ok(())
}
