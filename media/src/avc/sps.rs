//! A sequence parameter set, as far as players must know of it before they decode.

use crate::bits::Bits;

/// What a set says.
pub(super) struct Sps {
    /// Picture width and height, cropped.
    pub(super) size: (u16, u16),
    /// chroma_format_idc, and the bits of luma and chroma samples beyond 8.
    pub(super) format: [u8; 3],
}

impl Sps {
    /// H.264, 7.3.2.1.1: seq_parameter_set_data.
    pub(super) fn read(nal: &[u8]) -> Option<Self> {
        let raw = without_emulation_prevention(nal);
        let mut bits = Bits::new(raw.get(1..)?);
        let profile = bits.read(8)?;
        bits.read(16)?;
        bits.ue()?;
        // 4:2:0 with 8 bits, unless the set can say otherwise.
        let mut format = [1, 0, 0];
        if matches!(
            profile,
            44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244
        ) {
            format = high_profile_fields(&mut bits)?;
        }
        skip_frame_order_fields(&mut bits)?;
        let size = size(&mut bits, format[0])?;
        Some(Self { size, format })
    }
}

fn size(bits: &mut Bits<'_>, chroma_format: u8) -> Option<(u16, u16)> {
    let width_mbs = bits.ue()?.checked_add(1)?;
    let height_units = bits.ue()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.flag()?;
    }
    bits.flag()?;
    let crop = if bits.flag()? {
        [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?]
    } else {
        [0; 4]
    };
    let fields = if frames_only { 1 } else { 2 };
    let (unit_x, unit_y) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let width = cropped(width_mbs, 16, [crop[0], crop[1]], unit_x)?;
    let height = cropped(
        height_units,
        16 * fields,
        [crop[2], crop[3]],
        unit_y * fields,
    )?;
    Some((width, height))
}

fn cropped(units: u32, unit: u32, crop: [u32; 2], crop_unit: u32) -> Option<u16> {
    let cut = crop[0].checked_add(crop[1])?.checked_mul(crop_unit)?;
    let size = units.checked_mul(unit)?.checked_sub(cut)?;
    u16::try_from(size).ok().filter(|size| *size > 0)
}

/// Gives [`Sps::format`].
fn high_profile_fields(bits: &mut Bits<'_>) -> Option<[u8; 3]> {
    let chroma_format = small(bits.ue()?, 3)?;
    if chroma_format == 3 {
        bits.flag()?;
    }
    let luma_depth = small(bits.ue()?, 6)?;
    let chroma_depth = small(bits.ue()?, 6)?;
    bits.flag()?;
    if bits.flag()? {
        let lists = if chroma_format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some([chroma_format, luma_depth, chroma_depth])
}

fn small(value: u32, most: u8) -> Option<u8> {
    u8::try_from(value).ok().filter(|value| *value <= most)
}

fn skip_scaling_list(bits: &mut Bits<'_>, len: u32) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..len {
        if next != 0 {
            next = (last + bits.se()? + 256).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn skip_frame_order_fields(bits: &mut Bits<'_>) -> Option<()> {
    bits.ue()?;
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.flag()?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue()?;
            for _ in 0..cycle.min(255) {
                bits.se()?;
            }
        }
        _ => {}
    }
    bits.ue()?;
    bits.flag()?;
    Some(())
}

/// H.264, 7.3.1: a 3 after two zeros is not part of the content.
fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let kept = nal.iter().filter(|byte| {
        let inserted = zeros >= 2 && **byte == 3;
        zeros = if **byte == 0 { zeros + 1 } else { 0 };
        !inserted
    });
    kept.copied().collect()
}
