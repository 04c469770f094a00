//! The bytes of a file, in pages that images share until one of them writes. What was never written reads as zeros.

use std::rc::Rc;

/// What a disk writes whole, or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

const PAGE_BYTES: usize = 4096;
const PAGE: u64 = PAGE_BYTES as u64;

type Page = [u8; PAGE_BYTES];

/// Pages by number; nothing stands for zeros.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pages: Vec<Option<Rc<Page>>>,
}

impl Image {
    /// Fills `out` with the bytes from `offset` on.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let (page, within) = place(at);
            let (piece, others) = rest.split_at_mut(rest.len().min(PAGE_BYTES - within));
            match self.page(page) {
                Some(bytes) => piece.copy_from_slice(&bytes[within..within + piece.len()]),
                None => piece.fill(0),
            }
            at += piece.len() as u64;
            rest = others;
        }
    }

    /// Writes whole sectors.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        debug_assert!(offset.is_multiple_of(SECTOR_BYTES as u64) && bytes.len().is_multiple_of(SECTOR_BYTES));
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (page, within) = place(at);
            let (piece, others) = rest.split_at(rest.len().min(PAGE_BYTES - within));
            let slot = self.slot(page);
            match <&Page>::try_from(piece) {
                Ok(whole) if is_zero(whole) => *slot = None,
                Ok(whole) => *slot = Some(Rc::new(*whole)),
                Err(_) => {
                    let bytes = Rc::make_mut(slot.get_or_insert_with(|| Rc::new([0; PAGE_BYTES])));
                    bytes[within..within + piece.len()].copy_from_slice(piece);
                }
            }
            at += piece.len() as u64;
            rest = others;
        }
    }

    /// Takes over what `other` has between `offset` and `offset + bytes`, whole sectors.
    pub(crate) fn share(&mut self, other: &Image, offset: u64, bytes: u64) {
        if !offset.is_multiple_of(PAGE) || !bytes.is_multiple_of(PAGE) {
            let mut copy = vec![0; bytes as usize];
            other.read(offset, &mut copy);
            return self.write(offset, &copy);
        }
        for page in place(offset).0..place(offset + bytes).0 {
            *self.slot(page) = other.page(page).cloned();
        }
    }

    /// Everything from `bytes` on reads as zeros from now on.
    pub(crate) fn cut(&mut self, bytes: u64) {
        let (page, within) = place(bytes);
        self.pages.truncate(page + usize::from(within > 0));
        if let Some(Some(last)) = self.pages.get_mut(page).filter(|_| within > 0) {
            Rc::make_mut(last)[within..].fill(0);
        }
    }

    /// Where there is anything but zeros: offsets of pages.
    pub(crate) fn written_pages(&self) -> impl Iterator<Item = u64> + '_ {
        let written = |(number, page): (usize, &Option<Rc<Page>>)| page.as_ref().map(|_| number as u64 * PAGE);
        self.pages.iter().enumerate().filter_map(written)
    }

    fn page(&self, page: usize) -> Option<&Rc<Page>> {
        self.pages.get(page)?.as_ref()
    }

    fn slot(&mut self, page: usize) -> &mut Option<Rc<Page>> {
        if page >= self.pages.len() {
            self.pages.resize(page + 1, None);
        }
        &mut self.pages[page]
    }
}

fn place(offset: u64) -> (usize, usize) {
    ((offset / PAGE) as usize, (offset % PAGE) as usize)
}

fn is_zero(page: &Page) -> bool {
    page.as_chunks::<16>().0.iter().all(|chunk| u128::from_ne_bytes(*chunk) == 0)
}
