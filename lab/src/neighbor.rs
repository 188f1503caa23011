//! A local-azure in a process of its own, and beside it in the same process the bare servers that it is compared with.
//!
//! So its memory is not that of who measures it. The functions are switched off: nothing reads what devices send.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use local_azure::iot_hub::{Address, NewIdentity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{
    fleet::Fleet,
    reference::{bare, capture},
    resident::resident,
    site::{Handler, Plan, Site},
};

/// The command that starts this program as a neighbor.
pub const COMMAND: &str = "neighbor";
/// Twins that are loaded at a time, so that what is needed to load them is small against what they need.
const CHUNK: usize = 1_000;
/// Thermostats in a space.
const IN_A_SPACE: usize = 100;
/// The one above all spaces.
pub const BUILDING: &str = "building";
const SPACE: &str = "dtmi:contosocom:DigitalTwins:Space;1";
const FUNCTIONS: [&str; 2] = ["DeviceTelemetryToTwinFunc", "DeleteDeviceInTwinFunc"];

/// Where everything is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// Base address of Azure Digital Twins.
    pub digital_twins: String,
    /// A bearer token for it.
    pub token: String,
    /// Base address of the bare HTTPS server.
    pub bare_https: String,
    /// Host name of the hub.
    pub hub: String,
    /// Its port.
    pub hub_port: u16,
    /// A token for any of its devices.
    pub hub_token: String,
    /// The port of the bare MQTT server.
    pub bare_mqtt_port: u16,
    /// Who signed all certificates.
    pub ca_file: PathBuf,
}

/// What a neighbor is asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Order {
    /// Further twins; see [`twin`].
    Twins { first: usize, count: usize },
    /// Spaces that contain the first so many twins, and the building that contains the spaces.
    Spaces { twins: usize },
    /// Devices; see [`device`].
    Devices { count: usize },
}

/// The id of a twin.
#[must_use]
pub fn twin(number: usize) -> String {
    format!("twin-{number:06}")
}

/// The id of a device.
#[must_use]
pub fn device(number: usize) -> String {
    format!("device-{number:06}")
}

/// A neighbor, seen from outside. It ends by itself when this is dropped; [`Neighbor::stop`] waits for that.
#[derive(Debug)]
pub struct Neighbor {
    /// Where everything is.
    pub addresses: Addresses,
    process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Neighbor {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let (orders, answers) = process.stdin.take().zip(process.stdout.take()).context("no pipes")?;
        let mut answers = BufReader::new(answers).lines();
        let addresses = answers.next_line().await?.context("the neighbor did not start")?;
        Ok(Self { addresses: serde_json::from_str(&addresses)?, process, orders, answers })
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident(&self) -> anyhow::Result<u64> {
        Ok(resident(self.process.id().context("the neighbor has ended")?)?)
    }

    /// Adds twins, numbered from `first`.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn add_twins(&mut self, first: usize, count: usize) -> anyhow::Result<()> {
        self.order(Order::Twins { first, count }).await
    }

    /// Puts the first `twins` twins into spaces, and those into one building.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn add_spaces(&mut self, twins: usize) -> anyhow::Result<()> {
        self.order(Order::Spaces { twins }).await
    }

    /// Adds devices to the hub, numbered from 0.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn add_devices(&mut self, count: usize) -> anyhow::Result<()> {
        self.order(Order::Devices { count }).await
    }

    /// Ends it, and waits for the end.
    ///
    /// # Errors
    /// When something of it did not stop.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { orders, mut process, .. } = self;
        drop(orders);
        let status = process.wait().await?;
        ensure!(status.success(), "the neighbor ended with {status}");
        Ok(())
    }

    async fn order(&mut self, order: Order) -> anyhow::Result<()> {
        self.orders.write_all((serde_json::to_string(&order)? + "\n").as_bytes()).await?;
        let answer = self.answers.next_line().await?;
        ensure!(answer.as_deref() == Some("done"), "{order:?}: {answer:?}");
        Ok(())
    }
}

/// Is a neighbor, until its standard input ends.
///
/// # Errors
/// When something does not start, or an order cannot be carried out.
pub async fn run() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plan = Plan::new(Handler::this_program("capture-handler")?);
    let plan = plan.with(capture::FILE, folder.path().join("batch.json").display());
    let plan = FUNCTIONS.iter().fold(plan, |plan, name| plan.with(&format!("AzureWebJobs.{name}.Disabled"), true));
    let site = Site::start(&plan).await?;
    let tls = site.authority()?.server_config(&[], Timestamp::now())?;
    let example = Fleet::new("example", 0, 1);
    site.services().digital_twins.load_graph(&example.graph())?;
    let example = example.ids().next().and_then(|id| site.services().digital_twins.twin(&id));
    let example = Bytes::from(serde_json::to_vec(&example.context("there is no twin")?)?);
    let endpoints = site.running().endpoints();
    let hub = endpoints.iot_hubs.first().context("local-azure has no hub")?;
    let addresses = Addresses {
        digital_twins: endpoints.digital_twins.clone(),
        token: endpoints.digital_twins_token.clone(),
        bare_https: format!("https://localhost:{}", bare::serve_https(tls.clone(), example).await?),
        hub: hub.host_name.clone(),
        hub_port: hub.mqtt_port,
        hub_token: hub.service_token.clone(),
        bare_mqtt_port: bare::serve_mqtt(tls).await?,
        ca_file: endpoints.ca_file.clone(),
    };
    say(&serde_json::to_string(&addresses)?)?;
    let obeyed = tokio::task::spawn_blocking(move || {
        for order in io::stdin().lines() {
            carry_out(serde_json::from_str(&order?)?, &site)?;
            say("done")?;
        }
        anyhow::Ok(site)
    });
    obeyed.await??.stop().await;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

fn carry_out(order: Order, site: &Site) -> anyhow::Result<()> {
    let twins = &site.services().digital_twins;
    match order {
        Order::Twins { first, count } => {
            for first in (first..first + count).step_by(CHUNK) {
                twins.load_graph(&Fleet::new("twin", first, CHUNK.min(count)).graph())?;
            }
        }
        Order::Spaces { twins: count } => {
            twins.load_graph(&json!({ "twins": [space(BUILDING)] }))?;
            for number in 0..count.div_ceil(IN_A_SPACE) {
                let id = format!("space-{number:06}");
                let inside = number * IN_A_SPACE..count.min((number + 1) * IN_A_SPACE);
                let relationships: Vec<_> =
                    inside.map(|number| contains(&id, &twin(number))).chain([contains(BUILDING, &id)]).collect();
                twins.load_graph(&json!({ "twins": [space(&id)], "relationships": relationships }))?;
            }
        }
        Order::Devices { count } => {
            let hub = site.services().iot_hubs.first().context("local-azure has no hub")?;
            for number in 0..count {
                hub.create(&Address::device(device(number).parse()?), NewIdentity::default())?;
            }
        }
    }
    Ok(())
}

fn space(id: &str) -> Value {
    json!({ "$dtId": id, "$metadata": { "$model": SPACE } })
}

fn contains(space: &str, twin: &str) -> Value {
    json!({
        "$relationshipId": format!("contains-{twin}"), "$relationshipName": "contains",
        "$sourceId": space, "$targetId": twin,
    })
}
