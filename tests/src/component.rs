//! Components under other digests.

/// The component with a custom section of this name and so many bytes, which changes its digest and nothing else.
#[must_use]
pub fn with_section(component: &[u8], name: &str, bytes: usize) -> Vec<u8> {
    let mut section = leb128(name.len());
    section.extend(name.bytes());
    section.resize(section.len() + bytes, 0);
    // The id of a custom section, and its length.
    [component, &[0], &leb128(section.len()), &section].concat()
}

/// The encoding of numbers in WebAssembly: seven bits a byte, the lowest first.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_its_name_and_its_length() {
        assert_eq!(with_section(b"c", "ab", 2), [b"c" as &[u8], &[0, 5, 2], b"ab", &[0, 0]].concat());
        let long = with_section(b"", "x", 300);
        assert_eq!((&long[..5], long.len()), (&[0, 0xae, 0x02, 1, b'x'][..], 305));
    }
}
