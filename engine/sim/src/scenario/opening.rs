//! How a life begins: its reactors open what the last one left.

use std::sync::Arc;

use engine::{OpenError, Reactor, Recovered};
use io::Io;

use super::Scenario;
use crate::model::Breach;
use crate::plan::LifePlan;
use crate::world::{SimIo, Surroundings};

impl<I: Io, W: Fn(SimIo) -> I> Scenario<W> {
    /// Opens the data directory. Nothing if it could not be, and that is no breach.
    pub(super) fn open(&mut self, plan: &LifePlan) -> Result<Option<Vec<Reactor<I>>>, Breach> {
        let failed_reads = self.world.counted("disk: read failed");
        match self.take_seats(plan) {
            _ if self.world.is_dead() => Ok(None),
            Ok((mut reactors, recovered)) => {
                self.world.note(format_args!("opened by {} reactors: {recovered:?}", plan.reactors));
                self.count_recovered(&recovered);
                let is_whole = recovered.damage.is_empty() && recovered.remade_headers.is_empty();
                // What could not be read is damaged, for all that opening knows.
                self.is_damaged |= !is_whole && self.world.counted("disk: read failed") > failed_reads;
                if !is_whole && !self.is_damaged {
                    return Err(Breach::new("readable", format!("nothing was damaged: {recovered:?}")));
                }
                if !recovered.damage.is_empty() {
                    self.model.told_damage();
                }
                for reactor in &mut reactors {
                    self.plan.secret().into_iter().for_each(|secret| reactor.require(secret));
                    reactor.use_keyring(Arc::clone(&self.keyring));
                }
                let handle = self.world.serve(&mut reactors);
                self.resharder.begin(handle.clone());
                self.caller.begin(handle);
                Ok(Some(reactors))
            }
            Err(error) => self.open_failed(plan, &error).map(|()| None),
        }
    }

    fn take_seats(&self, plan: &LifePlan) -> Result<(Vec<Reactor<I>>, Recovered), OpenError> {
        self.world.name_directories(plan.dirs.clone());
        let mut ios = self.world.ios(plan.reactors).into_iter().map(&self.wrap);
        let mut first = ios.next().expect("there is a reactor");
        let (seats, recovered) = engine::open(&mut first, &plan.config, plan.reactors)?;
        let ios = std::iter::once(first).chain(ios);
        let reactors = ios.zip(seats).map(|(io, seat)| Reactor::take(io, plan.config.clone(), seat));
        Ok((reactors.collect::<Result<_, _>>()?, recovered))
    }

    fn open_failed(&mut self, plan: &LifePlan, error: &OpenError) -> Result<(), Breach> {
        self.world.note(format_args!("not opened: {error}"));
        let calm = Surroundings::calm();
        let has_faults = plan.surroundings.disk != calm.disk && self.life.get() + 1 < self.plan.lives;
        let is_full = plan.surroundings.capacity_bytes != calm.capacity_bytes || plan.config.disk_bytes != u64::MAX;
        let is_expected = match error {
            OpenError::Io { .. } => has_faults,
            OpenError::Unreadable { .. } => has_faults || self.is_damaged,
            OpenError::NoSpace { .. } => has_faults || is_full,
            _ => self.is_damaged,
        };
        if !is_expected {
            return Err(Breach::new("opens", error.to_string()));
        }
        self.world.count("engine: not opened");
        self.world.die();
        Ok(())
    }

    fn count_recovered(&self, recovered: &Recovered) {
        let branches = [
            ("recovery: fresh", recovered.fresh),
            ("recovery: clean", recovered.clean && !recovered.fresh),
            ("recovery: cut", !recovered.cuts.is_empty()),
            ("recovery: cut without a copy", recovered.cuts.iter().any(|cut| cut.copy.is_none())),
            ("recovery: several segments", recovered.segments > 2),
            ("recovery: several journals cut", recovered.cuts.len() > 1),
            ("recovery: header made again", !recovered.remade_headers.is_empty()),
            ("recovery: damage", !recovered.damage.is_empty()),
        ];
        branches.into_iter().filter(|(_, hit)| *hit).for_each(|(branch, _)| self.world.count(branch));
    }
}
