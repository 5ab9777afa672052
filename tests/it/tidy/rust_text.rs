//! Rust source as tokens and paths: as much of the language as the rules need, and no more.

/// The kind of a token. The text of a literal is left out, so that no rule reads into a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Word(String),
    Mark(char),
    Literal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
}

impl Token {
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own == word)
    }

    pub fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// A path of two segments or more, `use` trees written out. `super` and `self` at its start are
/// resolved against the file's own place, which makes it start with `crate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
    /// True if it is part of a public `use`.
    pub reexport: bool,
}

/// The tokens of a source file, without its comments.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { chars: text.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = scanner.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let char = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(char == '\n');
        Some(char)
    }

    fn next_token(&mut self) -> Option<Token> {
        loop {
            match (self.peek(0)?, self.peek(1)) {
                (space, _) if space.is_whitespace() => {
                    self.bump();
                }
                ('/', Some('/')) => while self.bump().is_some_and(|char| char != '\n') {},
                ('/', Some('*')) => self.block_comment(),
                _ => break,
            }
        }
        let line = self.line;
        let kind = match self.peek(0)? {
            '"' => self.string(),
            '\'' => self.quote(),
            first if first == '_' || first.is_alphabetic() => self.word(),
            digit if digit.is_ascii_digit() => {
                while self.peek(0).is_some_and(|char| char == '_' || char.is_alphanumeric()) {
                    self.bump();
                }
                Kind::Literal
            }
            mark => {
                self.bump();
                Kind::Mark(mark)
            }
        };
        Some(Token { kind, line })
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.bump(), self.peek(0)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => continue,
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) -> Kind {
        self.bump();
        loop {
            match self.bump() {
                Some('\\') => {
                    self.bump();
                }
                Some('"') | None => return Kind::Literal,
                Some(_) => {}
            }
        }
    }

    /// A raw string from its first `#` or quote on.
    fn raw_string(&mut self) -> Kind {
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            hashes += 1;
            self.bump();
        }
        self.bump();
        loop {
            match self.bump() {
                Some('"') if (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) => {
                    self.at += hashes;
                    return Kind::Literal;
                }
                None => return Kind::Literal,
                Some(_) => {}
            }
        }
    }

    /// A character, or a lifetime: `'a'` against `'a`.
    fn quote(&mut self) -> Kind {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.bump();
            self.bump();
            while self.bump().is_some_and(|char| char != '\'') {}
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
        }
        // A lifetime's name is left to be a word of its own, which no rule is about.
        Kind::Literal
    }

    fn word(&mut self) -> Kind {
        let start = self.at;
        while self.peek(0).is_some_and(|char| char == '_' || char.is_alphanumeric()) {
            self.bump();
        }
        let word: String = self.chars[start..self.at].iter().collect();
        let raw = matches!(word.as_str(), "r" | "br" | "cr");
        match (self.peek(0), self.peek(1)) {
            (Some('"'), _) if raw => self.raw_string(),
            (Some('#'), Some('"' | '#')) if raw => self.raw_string(),
            (Some('"'), _) if matches!(word.as_str(), "b" | "c") => self.string(),
            (Some('\''), _) if word == "b" => self.quote(),
            (Some('#'), Some(_)) if word == "r" => {
                self.bump();
                self.word()
            }
            _ => Kind::Word(word),
        }
    }
}

/// Every path of a file. `module` is the file's own path from the crate's root, `["source",
/// "cpu_stat"]` for `src/source/cpu_stat.rs`.
pub fn paths(tokens: &[Token], module: &[&str]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut here: Vec<String> = module.iter().map(ToString::to_string).collect();
    let mut open_braces = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        if token.is_word("mod")
            && let Some(name) = next.and_then(Token::word)
            && tokens.get(at + 2).is_some_and(|brace| brace.is_mark('{'))
        {
            here.push(name.to_owned());
            open_braces.push(true);
            at += 3;
        } else if token.is_mark('{') {
            open_braces.push(false);
            at += 1;
        } else if token.is_mark('}') {
            if open_braces.pop() == Some(true) {
                here.pop();
            }
            at += 1;
        } else if token.is_word("use") && next.is_some_and(|next| !next.is_mark('<')) {
            let reexport = is_public(tokens, at);
            let mut tree = Tree { tokens, at: at + 1, found: Vec::new() };
            tree.walk(&mut Vec::new());
            at = tree.at;
            found.extend(tree.found.into_iter().map(|(segments, line)| Path {
                segments: resolved(segments, &here),
                line,
                reexport,
            }));
        } else if token.word().is_some() && is_separator(tokens, at + 1) {
            let start = at;
            let mut segments = vec![token.word().unwrap_or_default().to_owned()];
            at += 1;
            while is_separator(tokens, at)
                && let Some(word) = tokens.get(at + 2).and_then(Token::word)
            {
                segments.push(word.to_owned());
                at += 3;
            }
            // `::<` of a turbofish.
            at += if is_separator(tokens, at) { 2 } else { 0 };
            let line = tokens[start].line;
            found.push(Path { segments: resolved(segments, &here), line, reexport: false });
        } else {
            at += 1;
        }
    }
    found.retain(|path| path.segments.len() > 1);
    found
}

fn is_separator(tokens: &[Token], at: usize) -> bool {
    tokens.get(at..at + 2).is_some_and(|two| two.iter().all(|token| token.is_mark(':')))
}

/// True if `pub` or `pub(…)` precedes the item at `at`.
fn is_public(tokens: &[Token], at: usize) -> bool {
    let before = &tokens[..at];
    let Some(last) = before.last() else { return false };
    if last.is_mark(')') {
        let open = before.iter().rposition(|token| token.is_mark('('));
        return open
            .and_then(|open| open.checked_sub(1))
            .is_some_and(|at| before[at].is_word("pub"));
    }
    last.is_word("pub")
}

fn resolved(mut segments: Vec<String>, here: &[String]) -> Vec<String> {
    let supers = segments.iter().take_while(|segment| *segment == "super").count();
    let own = segments.first().is_some_and(|first| first == "self");
    if supers == 0 && !own {
        return segments;
    }
    let rest = segments.split_off(supers.max(1));
    let mut absolute = vec!["crate".to_owned()];
    absolute.extend_from_slice(&here[..here.len().saturating_sub(supers)]);
    absolute.extend(rest);
    absolute
}

struct Tree<'tokens> {
    tokens: &'tokens [Token],
    at: usize,
    found: Vec<(Vec<String>, usize)>,
}

impl Tree<'_> {
    /// One branch of a `use` tree, below the segments of `prefix`.
    fn walk(&mut self, prefix: &mut Vec<String>) {
        let depth = prefix.len();
        let mut leaf = None;
        while let Some(token) = self.tokens.get(self.at) {
            match &token.kind {
                Kind::Word(word) if word == "as" => self.at += 1,
                Kind::Word(word) => {
                    prefix.push(word.clone());
                    leaf = Some(token.line);
                }
                Kind::Mark('*') => {
                    prefix.push("*".to_owned());
                    leaf = Some(token.line);
                }
                Kind::Mark('{') => {
                    leaf = None;
                    loop {
                        self.at += 1;
                        self.walk(prefix);
                        if !self.tokens.get(self.at).is_some_and(|token| token.is_mark(',')) {
                            break;
                        }
                    }
                }
                Kind::Mark(',' | '}' | ';') => break,
                _ => {}
            }
            self.at += 1;
        }
        if let Some(line) = leaf {
            self.found.push((prefix.clone(), line));
        }
        prefix.truncate(depth);
    }
}
