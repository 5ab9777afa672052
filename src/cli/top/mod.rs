//! `nodetally top`: the node, its pods, units and processes on a whole screen, until it is quit.
//!
//! It follows a running agent over its socket, and without one it takes samples as `dump` does. Both
//! come as lines of a dump. `model` holds the state, `view` draws it.

mod bar;
mod columns;
mod feed;
mod figure;
mod header;
mod history;
mod keys;
mod model;
mod palette;
mod sample;
mod terminal;
mod text;
mod view;

use std::sync::atomic::Ordering;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ratatui_crossterm::crossterm::event::{self, Event};

use super::agent_client::StatusAddress;
use super::args::TopFlags;
use super::status::addresses_of;
use super::table::Style;
use crate::config::{Settings, StatusLocation};
use crate::printable::printable;
use feed::{SampleFeed, SampleNews};
use model::{TopAction, TopModel};
use palette::TopPalette;
use sample::TopSample;
use terminal::{ScreenError, WholeScreen, ending_signal};

/// The time between two own samples where no flag says it.
const INTERVAL: Duration = Duration::from_secs(2);

/// The longest wait for a key before samples and signals are looked at.
const TURN: Duration = Duration::from_millis(100);

/// The most keys between two frames, so that a pasted text cannot hold them up.
const KEYS_MAX: usize = 256;

/// Shows the node until a key or a signal ends it. `location`: where an agent may be asked; `settings`:
/// those of own samples.
pub fn run(
    flags: &TopFlags,
    location: impl FnOnce() -> anyhow::Result<StatusLocation>,
    settings: impl FnOnce() -> anyhow::Result<Settings>,
) -> anyhow::Result<()> {
    terminal::check()?;
    let feed = open_feed(flags, location, settings)?;
    let palette = TopPalette { has_colour: Style::of_output(flags.color, 0).colour };
    let has_ended = ending_signal().context("no handlers of signals")?;
    let mut model = TopModel::default();
    model.source.clone_from(&feed.source);
    let mut screen = WholeScreen::open(palette)?;
    while !model.has_quit && !has_ended.load(Ordering::SeqCst) {
        screen.draw(&mut model).map_err(ScreenError::from)?;
        turn(&feed, &mut model, &mut screen).map_err(ScreenError::from)?;
    }
    Ok(())
}

fn open_feed(
    flags: &TopFlags,
    location: impl FnOnce() -> anyhow::Result<StatusLocation>,
    settings: impl FnOnce() -> anyhow::Result<Settings>,
) -> anyhow::Result<SampleFeed> {
    if let Some(socket) = &flags.socket {
        return match feed::find(&[StatusAddress::Socket(socket.clone())])? {
            Ok(agent) => feed::follow(agent),
            Err(reasons) => {
                let texts: Vec<&str> = reasons.iter().map(|reason| &*reason.text).collect();
                bail!("no agent answers at {}", texts.join("; nor at "))
            }
        };
    }
    let mut is_denied = false;
    if flags.interval.is_none() {
        match feed::find(&addresses_of(&location()?)?)? {
            Ok(agent) => return feed::follow(agent),
            Err(reasons) => is_denied = reasons.iter().any(|reason| reason.is_denied),
        }
    }
    let mut feed = feed::own(settings()?, flags.interval.unwrap_or(INTERVAL))?;
    if is_denied {
        feed.source.push_str(" (the agent's socket needs root)");
    }
    Ok(feed)
}

/// Waits for a key, and takes what has come from keys and samples.
fn turn(feed: &SampleFeed, model: &mut TopModel, screen: &mut WholeScreen) -> std::io::Result<()> {
    let mut wait = TURN;
    for _ in 0..KEYS_MAX {
        if !event::poll(wait)? {
            break;
        }
        wait = Duration::ZERO;
        if let Event::Key(key) = event::read()?
            && let Some(action) = keys::action(&key, model.is_typing)
        {
            if action == TopAction::Redraw {
                screen.clear()?;
            }
            model.act(action);
        }
    }
    loop {
        match feed.news.try_recv() {
            Ok(SampleNews::Lines(lines)) => {
                let newest = model.history.newest().and_then(|at| model.history.get(at));
                let sample = TopSample::of_lines(lines, newest);
                model.add(sample);
            }
            Ok(SampleNews::Failed(reason)) => model.error = Some(printable(&reason)),
            Ok(SampleNews::Current) => model.error = None,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => {
                model.error =
                    Some("no more samples come: the sampling thread has ended".to_owned());
                return Ok(());
            }
        }
    }
}
