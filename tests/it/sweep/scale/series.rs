//! The calls of one line in both worlds.

use std::time::Duration;

use cp_server::kernel::access::caller::Permission;
use cp_server::kernel::http::line::Line;
use cp_server::kernel::http::openapi;
use serde_json::json;

use super::Cost;
use super::meter::Meter;
use crate::sweep::authorization::right_caller;
use crate::sweep::examples::{Example, example, prepare};
use crate::world::zitadel::Zitadel;
use crate::world::{Answer, Client, Tenant, World};

/// The measured calls of a read, and of a change.
const READS: usize = 12;
const CHANGES: usize = 3;
/// The calls before, which fill caches.
const WARM_UPS: usize = 2;
/// The calls are repeated when they find growth: other work of the machine may be the cause.
const REPETITIONS: usize = 2;
/// A call that is slower is not repeated as often.
const SLOW: Duration = Duration::from_millis(500);

/// One of the worlds.
pub struct Side {
    world: World,
    meter: Meter,
    /// The tenant whose copies the others are.
    original: Tenant,
    /// The tenants that a change has had.
    used: u32,
}

impl Side {
    pub fn new(world: World) -> Self {
        let (meter, original) = (Meter::of(&world), world.acme.clone());
        Self { world, meter, original, used: 0 }
    }

    /// Gives the world a tenant that no change has had: a copy, or one that was created over the API.
    async fn next(&mut self, is_copy: bool) {
        self.used += 1;
        self.world.acme = if is_copy {
            self.original.copy(self.used)
        } else {
            Box::pin(self.world.tenant(&format!("made-{}", self.used))).await
        };
    }

    /// A caller with the permission of the line.
    async fn caller(&self, line: &Line) -> Client {
        match line.permission {
            Permission::PUBLIC => self.world.anyone().with("sec-fetch-site", "same-origin"),
            _ => right_caller(&self.world, line).await,
        }
    }

    async fn call(&self, client: &Client, line: &Line) -> (Duration, Answer) {
        let has_body = line.shapes(&mut openapi::schemas()).input.is_some();
        let example = match line.permission {
            // Forms of pages, which are refused without their members.
            Permission::PUBLIC if !line.reads() && !has_body => {
                Example { query: String::new(), body: None }
            }
            _ => example(&self.world, line),
        };
        let path = self.world.path_of(line) + &example.query;
        self.meter.time(client.call(line.method.clone(), &path, example.body)).await
    }

    /// Creates the key of the path.
    async fn create_key(&mut self) {
        let key = self.world.post("/signing/keys", json!({})).await.expect(201);
        key["kid"].as_str().unwrap().clone_into(&mut self.world.successor);
    }
}

/// The measured calls.
pub struct Series<'l> {
    pub line: &'l Line,
    times: [Vec<Duration>; 2],
    bytes: [usize; 2],
    /// What a read needs besides the worlds.
    servers: Vec<Option<Zitadel>>,
    /// The last answer that was no success.
    pub refusal: String,
}

impl<'l> Series<'l> {
    pub fn new(line: &'l Line) -> Self {
        Self {
            line,
            times: Default::default(),
            bytes: [0, 0],
            servers: Vec::new(),
            refusal: String::new(),
        }
    }

    /// The least cost on each side; `None` without a success.
    pub fn cost(&self) -> Option<Cost> {
        let [few, many] = &self.times;
        let (few, many) = (*few.iter().min()?, *many.iter().min()?);
        Some(Cost { name: self.line.name, few, many, bytes: self.bytes })
    }

    pub async fn run(&mut self, sides: &mut [Side; 2]) {
        for _ in 0..REPETITIONS {
            match self.line.reads() {
                true => Box::pin(self.read(sides)).await,
                false => Box::pin(self.change(sides)).await,
            }
            if self.cost().is_none_or(|cost| !cost.grows() || cost.many > SLOW) {
                return;
            }
        }
    }

    async fn read(&mut self, sides: &mut [Side; 2]) {
        let mut callers = Vec::new();
        for side in sides.iter_mut() {
            side.world.acme = side.original.clone();
            if self.servers.len() < 2 {
                self.servers.push(prepare(&side.world, self.line).await);
            }
            callers.push(side.caller(self.line).await);
        }
        for n in 0..WARM_UPS + READS {
            for (place, (side, caller)) in sides.iter().zip(&callers).enumerate() {
                let (time, answer) = side.call(caller, self.line).await;
                self.note(place, time, &answer, n >= WARM_UPS);
                if time > SLOW {
                    self.note(place, time, &answer, true);
                }
            }
            if self.cost().is_some_and(|cost| cost.many > SLOW) {
                return;
            }
        }
    }

    async fn change(&mut self, sides: &mut [Side; 2]) {
        let mut is_copy = true;
        for n in 0..CHANGES {
            for (place, side) in sides.iter_mut().enumerate() {
                if Box::pin(self.attempt(place, side, is_copy)).await {
                    continue;
                }
                // The secrets of a copy cannot be opened.
                if is_copy && n == 0 && Box::pin(self.attempt(place, side, false)).await {
                    is_copy = false;
                }
            }
        }
    }

    /// Runs the change in a new tenant; whether it succeeded.
    async fn attempt(&mut self, place: usize, side: &mut Side, is_copy: bool) -> bool {
        side.next(is_copy).await;
        if self.line.path.contains("{kid}") {
            side.create_key().await;
        }
        let _server = prepare(&side.world, self.line).await;
        let caller = side.caller(self.line).await;
        let (time, answer) = side.call(&caller, self.line).await;
        self.note(place, time, &answer, true)
    }

    /// Keeps the time of a success; whether it is one.
    fn note(&mut self, place: usize, time: Duration, answer: &Answer, counts: bool) -> bool {
        let line = self.line;
        let also = line.also.map(|status| status.as_u16());
        // Pages without authentication may also lead to the login.
        let is_success = answer.status == line.status.as_u16()
            || Some(answer.status) == also
            || line.permission == Permission::PUBLIC && answer.status < 500;
        if !is_success {
            self.refusal = answer.text();
        } else if counts {
            self.times[place].push(time);
            self.bytes[place] = answer.body.len();
        }
        is_success
    }
}
