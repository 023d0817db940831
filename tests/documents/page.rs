//! A page of Markdown, taken apart.

#![expect(clippy::wildcard_enum_match_arm, reason = "most of what Markdown has is of no concern here")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A heading.
pub(super) struct Heading {
    /// Its words, without marks.
    pub(super) text: String,
    /// What of it stands in back quotes.
    pub(super) codes: Vec<String>,
}

/// A fenced block.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) language: String,
    pub(super) text: String,
    /// The comment right before it; or the file that it is quoted from, as such a comment.
    pub(super) comment: Option<String>,
    /// `docs/store.md:12`
    pub(super) place: String,
}

/// A row of a table, as it is written.
pub(super) struct Row {
    /// The heading above the table, by its number.
    pub(super) heading: Option<usize>,
    /// The first cell of the table's head.
    pub(super) head: String,
    pub(super) cells: Vec<String>,
    pub(super) place: String,
}

/// A page.
#[derive(Default)]
pub(super) struct Page {
    /// Its path in the repository.
    pub(super) path: PathBuf,
    pub(super) headings: Vec<Heading>,
    pub(super) blocks: Vec<Block>,
    pub(super) rows: Vec<Row>,
    /// Targets with their places.
    pub(super) links: Vec<(String, String)>,
    /// What stands in back quotes outside of blocks, with its place.
    pub(super) codes: Vec<(String, String)>,
}

/// The directory of the repository.
pub(super) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of the repository.
pub(super) fn pages() -> Vec<Page> {
    let (mut found, mut directories) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(repository().join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = directory.join(&name);
            let is_ours = !name.starts_with('.') && name != "target";
            if entry.file_type().unwrap().is_dir() {
                directories.extend(is_ours.then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 10, "there are only {found:?}");
    found.into_iter().map(|path| page(&path)).collect()
}

/// One page, by its path in the repository.
pub(super) fn page(path: &Path) -> Page {
    let text = fs::read_to_string(repository().join(path)).unwrap();
    read(path, &text)
}

/// Takes a text apart.
pub(super) fn read(path: &Path, text: &str) -> Page {
    let mut reader = Reader {
        page: Page { path: path.to_owned(), ..Page::default() },
        text,
        comment: None,
        quoted: None,
        heading: None,
        block: None,
        row: None,
        head: None,
    };
    for (event, span) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        reader.take(event, span);
    }
    reader.page
}

struct Reader<'a> {
    page: Page,
    text: &'a str,
    /// A comment that may belong to the block that follows.
    comment: Option<String>,
    /// The path that a paragraph consists of, with a colon behind it: what follows is quoted from there.
    quoted: Option<String>,
    /// What is read at the moment.
    heading: Option<Heading>,
    block: Option<Block>,
    row: Option<Row>,
    /// The first cell of the present table's head, once it is known.
    head: Option<String>,
}

impl Reader<'_> {
    fn place(&self, at: usize) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}", self.page.path.display())
    }

    fn take(&mut self, event: Event<'_>, span: Range<usize>) {
        let place = self.place(span.start);
        match event {
            Event::Html(html) => {
                self.comment.get_or_insert_default().push_str(&html);
            }
            Event::Start(Tag::HtmlBlock) => self.comment = None,
            Event::End(TagEnd::HtmlBlock) => {}
            Event::Start(Tag::CodeBlock(kind)) => {
                let CodeBlockKind::Fenced(language) = kind else { return };
                let comment = self.comment.take().map(|comment| inside(&comment, &place));
                let comment = comment.or_else(|| Some(format!("from: {}", self.quoted.take()?)));
                let (language, text) = (language.into_string(), String::new());
                self.block = Some(Block { language, text, comment, place });
            }
            Event::Start(tag) => {
                (self.comment, self.quoted) = (None, None);
                self.start(tag, place, span);
            }
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.said(&text),
            Event::Code(code) => {
                self.said(&code);
                if let Some(heading) = &mut self.heading {
                    heading.codes.push(code.to_string());
                }
                self.page.codes.push((code.to_string(), place));
            }
            Event::SoftBreak | Event::HardBreak => self.said(" "),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>, place: String, span: Range<usize>) {
        match tag {
            Tag::Heading { .. } => self.heading = Some(Heading { text: String::new(), codes: Vec::new() }),
            Tag::Link { dest_url, .. } => self.page.links.push((dest_url.into_string(), place)),
            Tag::Paragraph => {
                let path = self.text[span].trim().strip_suffix(':').and_then(only_code);
                self.quoted = path.filter(|path| path.contains('/')).map(str::to_owned);
            }
            Tag::Table(_) => self.head = None,
            Tag::TableHead | Tag::TableRow => {
                let heading = self.page.headings.len().checked_sub(1);
                let head = self.head.clone().unwrap_or_default();
                self.row = Some(Row { heading, head, cells: Vec::new(), place });
            }
            Tag::TableCell => {
                if let Some(row) = &mut self.row {
                    row.cells.push(self.text[span].trim_matches(['|', ' ']).replace("\\|", "|"));
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.page.headings.extend(self.heading.take()),
            TagEnd::CodeBlock => self.page.blocks.extend(self.block.take()),
            TagEnd::TableHead => self.head = self.row.take().and_then(|row| row.cells.into_iter().next()),
            TagEnd::TableRow => self.page.rows.extend(self.row.take()),
            _ => {}
        }
    }

    fn said(&mut self, text: &str) {
        if let Some(block) = &mut self.block {
            block.text.push_str(text);
        } else if let Some(heading) = &mut self.heading {
            heading.text.push_str(text);
        }
    }
}

/// What a comment says.
fn inside(html: &str, place: &str) -> String {
    let text = html.trim().strip_prefix("<!--").and_then(|text| text.strip_suffix("-->"));
    text.unwrap_or_else(|| panic!("{place}: not a comment: {html}")).trim().to_owned()
}

impl Page {
    /// The anchor of each heading, as GitHub makes it.
    pub(super) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for heading in &self.headings {
            let kept = heading.text.to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
            let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let (mut anchor, mut number) = (slug.clone(), 0);
            while anchors.contains(&anchor) {
                number += 1;
                anchor = format!("{slug}-{number}");
            }
            anchors.push(anchor);
        }
        anchors
    }

    /// The heading above a row.
    pub(super) fn above(&self, row: &Row) -> &Heading {
        let heading = row.heading.and_then(|number| self.headings.get(number));
        heading.unwrap_or_else(|| panic!("{}: a table above all headings", row.place))
    }
}

/// The only thing in back quotes that a text consists of.
pub(super) fn only_code(text: &str) -> Option<&str> {
    let code = text.strip_prefix('`')?.strip_suffix('`')?;
    (!code.contains('`')).then_some(code)
}

/// What of a text stands in back quotes.
pub(super) fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
