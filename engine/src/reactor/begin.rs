//! A reactor begins: it takes its seat, and makes the first batch of its journal durable.

use super::*;
use crate::encryption::Keyring;
use crate::producers::{self, Row};
use crate::recovery::begin_wait;
use crate::trims::{TRIMS_MAX, Trim};

impl<I: Io> Reactor<I> {
    /// Opens the data directory of `io`, or makes it, for one reactor, and writes the first batch of this life.
    ///
    /// # Errors
    /// The directory can't be opened; the error says why and what to do.
    pub fn open(mut io: I, config: Config) -> Result<(Reactor<I>, Recovered), OpenError> {
        let (seats, mut recovered) = recovery::open(&mut io, &config, 1)?;
        let seat = seats.into_iter().next().expect("there is a seat for each reactor");
        let opened_ns = io.mono_ns();
        let reactor = Reactor::take(io, config, seat)?;
        recovered.elapsed_ns += reactor.io.mono_ns() - opened_ns;
        Ok((reactor, recovered))
    }

    /// Takes a seat of a data directory that was opened, and writes the first batch of this life to its journal. The first
    /// seat is taken with the `io` that opened the directory, the others each with one of its own, after it.
    ///
    /// # Errors
    /// The journal can't be written; the error says why and what to do.
    pub fn take(mut io: I, config: Config, mut seat: Seat) -> Result<Reactor<I>, OpenError> {
        let memory = Memory::share(config.memory_bytes / seat.owners.reactors());
        seat.open_files(&mut io)?;
        let (start, segments) = seat.start(&mut io, &config, &memory)?;
        let writes = config.writes_in_flight.clamp(1, WRITES_IN_FLIGHT_MAX);
        let tail_bytes = io.pool().capacity_bytes() / 2;
        let bounds = Bounds { tail_bytes, commit_bytes: memory.commit_bytes, writes };
        let journal = Journal::new(start, segments, token::SEAL, bounds);
        let mut reactor = Reactor {
            router: Router::new(),
            gates: Gates::default(),
            buckets: Buckets::default(),
            watch: Watch::default(),
            intake: Intake::new(io.receive_buffers(), seat.shards.len(), memory.large_bytes),
            connections: Slots::new(),
            appends: Appends::new(),
            appending: 0,
            backlog: Backlog::new(memory.backlog_bytes()),
            for_guests: Backlog::new(memory.guests_bytes()),
            journal,
            shards: seat.shards,
            planned: seat.catalog.clone(),
            catalog: seat.catalog,
            pending: std::collections::VecDeque::new(),
            announcing: std::collections::VecDeque::new(),
            announced: 0,
            reshardings: Reshardings::default(),
            moves: Moves::default(),
            incoming: Slots::new(),
            guests: BTreeMap::new(),
            followers: BTreeSet::new(),
            last_seals: seat.last_seals,
            vault: Vault::new(io.random()),
            reads: Reads::new(READ_WINDOWS_BYTES_MAX.min(tail_bytes / READ_WINDOWS_SHARE)),
            scheduler: Scheduler::new(),
            subscriptions: Subscriptions::new(),
            waiting: None,
            callers: Slots::new(),
            commit_times: Times::new(),
            damage: seat.all_damage,
            store: seat.store,
            clock: seat.clock,
            note_at_ns: 0,
            space: Space::default(),
            looking_at: None,
            drops: Drops::new(token::DROP, Arc::clone(&seat.exchange.flushes)),
            compactor: Compactor::new(token::COMPACT, Arc::clone(&seat.exchange.flushes)),
            peers: Peers::new(&seat.owners, seat.exchange),
            directories: Arc::clone(&seat.directories),
            owners: seat.owners,
            is_full: false,
            fullness: Refusals::default(),
            fullness_is_told: false,
            epoch: seat.epoch,
            listener: None,
            accepting: false,
            accept_after_ns: 0,
            connections_check_ns: 0,
            features: frame::proto::FEATURE_NUMBERS,
            secret: None,
            told_reactors: Reactors::default(),
            is_left_alone: false,
            life: Life::Running,
            stats: Stats::default(),
            last_append_ns: 0,
            last_ordinary_ns: 0,
            part_gave_way: false,
            idle_since_ns: None,
            completions: Vec::with_capacity(COMPLETIONS_ROOM),
            dirty: Vec::new(),
            stalled: Vec::new(),
            starved: Vec::new(),
            answered: Vec::new(),
            due: Vec::new(),
            refused: Vec::new(),
            io,
            config,
        };
        reactor.begin_life(seat.skip, &seat.go_on, &seat.trims, seat.untold_producers)?;
        reactor.survey_space(seat.keeps);
        reactor.take_up_lineage();
        for seal in seat.late_seals {
            reactor.journal.add_seal(seal);
        }
        reactor.join_peers();
        Ok(reactor)
    }

    /// Encrypts and decrypts with these keys.
    pub fn use_keyring(&mut self, keyring: Arc<Keyring>) {
        self.vault.use_keyring(keyring);
    }

    /// Tells the others that this reactor's first batch is durable, and where its shards end.
    fn join_peers(&mut self) {
        for other in self.peers.numbers() {
            self.peers.links[other].parcel.has_begun = true;
        }
        if self.peers.is_alone() {
            return self.last_seals.drain(..).for_each(|seal| self.journal.add_seal(seal));
        }
        self.shards.iter().for_each(|(shard, _)| self.publish(shard));
        self.shards.trims(|shard| self.owners.is_own(shard)).iter().for_each(|trim| self.publish_trim(trim.shard));
    }

    /// Takes account of what was sealed in earlier lives, to look for what has expired meanwhile.
    fn survey_space(&mut self, keeps: Vec<(Sealed, u64)>) {
        self.journal.all_sealed().for_each(|sealed| self.space.add(*sealed, false, 0));
        keeps.into_iter().for_each(|(sealed, others)| self.space.add(sealed, true, others));
        self.space.look_at_all();
    }

    /// Makes the first batch of this life durable, so that nothing older can pass for newer, and what it says of shards that
    /// go on in this journal.
    fn begin_life(&mut self, skip: u64, go_on: &[GoOn], trims: &[Trim], producers: Vec<Row>) -> Result<(), OpenError> {
        let frame_of = |command: &Command| {
            let mut frame = Vec::new();
            let encoded = frame::frame::encode(&mut frame, b"catalog", None, &command.encode());
            encoded.expect("so many rows fit a record");
            frame
        };
        let shards_go_on = go_on.chunks(GO_ON_ROWS_MAX).map(|rows| Command::GoOn(rows.to_vec()));
        let are_trimmed = trims.chunks(TRIMS_MAX).map(|rows| Command::Trim(rows.to_vec()));
        let have_stored = producers::records_of(producers).into_iter().map(Command::Producers);
        let mut commands = shards_go_on.chain(are_trimmed).chain(have_stored);
        let first = commands.next();
        self.write_opening(Some(skip), first.as_ref().map(frame_of).as_deref())?;
        // Not before that batch says so: if it begins a segment, the footer of the one before must not say it as well.
        // The number of a command in it is past those skipped.
        self.shards.skip_from(ShardId(u32::from(first.is_some())), skip);
        first.iter().for_each(|first| self.begin_with(first));
        // Nor later: if the next batch begins a segment, that footer must say it.
        for command in commands {
            self.write_opening(None, Some(&frame_of(&command)))?;
            self.begin_with(&command);
        }
        Ok(())
    }

    /// Does what a command of an opening batch says.
    fn begin_with(&mut self, command: &Command) {
        match command {
            Command::GoOn(rows) => {
                for (row, shard) in rows.iter().flat_map(|row| row.numbers().map(move |shard| (row, shard))) {
                    self.shards.go_on(shard, row.next, row.arrival_ms);
                    self.journal.index.go_on(shard, row.next);
                }
            }
            Command::Trim(trims) => trims.iter().for_each(|trim| self.shards.trim(*trim)),
            _ => {}
        }
    }

    fn write_opening(&mut self, skip: Option<u64>, frame: Option<&[u8]>) -> Result<(), OpenError> {
        loop {
            let written = self.journal.write_opening(&mut self.io, &mut self.shards, &self.catalog, skip, frame);
            match written {
                Ok(()) => break,
                Err(Shortage::Full) => {
                    return Err(OpenError::of_no_segment(&self.journal.segments));
                }
                Err(Shortage::Making) => {
                    self.journal.advance(&mut self.io, false);
                    self.begin_turn()?;
                }
            }
        }
        while !self.journal.is_quiet() {
            self.begin_turn()?;
        }
        Ok(())
    }

    /// A turn of a reactor that serves nobody yet.
    fn begin_turn(&mut self) -> Result<(), OpenError> {
        self.io.turn(begin_wait(&self.io, &self.owners), &mut self.completions);
        self.reap();
        self.journal.poisoned().map_or(Ok(()), |errno| Err(OpenError::io("writing the first batch", errno)))
    }
}
