/**
 * What a capture file holds: frames, and places where it could not be understood.
 *
 * Frames are numbered from 1 in the order of the file, as every other tool numbers them; a record
 * that cannot be read has a number too. Times are nanoseconds since 1970; link types are the numbers
 * of the tcpdump registry (LINKTYPE_*).
 */

export interface CapturedFrame {
  readonly kind: 'frame'
  readonly number: number
  /** Undefined where the file has no time for it (Simple Packet Block). */
  readonly at: bigint | undefined
  readonly linkType: number
  /** The captured part, possibly less than `wireLength`. */
  readonly bytes: Uint8Array
  /** Length on the wire, as the file says. */
  readonly wireLength: number
}

/** Every code that `CaptureFault.code` can have. */
export type CaptureFaultCode =
  | 'not-a-capture'
  | 'unsupported-version'
  | 'truncated'
  | 'bad-length'
  | 'frame-too-long'
  | 'unknown-interface'
  | 'too-many-interfaces'

export interface CaptureFault {
  readonly kind: 'fault'
  readonly number: number
  readonly code: CaptureFaultCode
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly field: string
}

export type CaptureItem = CapturedFrame | CaptureFault

/** What a file format says about the bytes at the front of the window. */
export type CaptureStep =
  /** At least so many bytes are needed, at most `MAX_BLOCK_BYTES`. */
  | { readonly kind: 'more'; readonly bytes: number }
  /** So many bytes are done with, which may be more than the window has. */
  | { readonly kind: 'taken'; readonly bytes: number; readonly found?: Found }
  /** What follows cannot be told apart from noise. */
  | { readonly kind: 'over'; readonly found: Found }

/** A frame or a fault before its number and, of a fault, its place in the file are known. */
export type Found =
  | Omit<CapturedFrame, 'number'>
  | (Omit<CaptureFault, 'number' | 'offset'> & {
      /** Bytes from the start of the window. */
      readonly at: number
      /** Whether it stands for a frame, and so has a number to itself. */
      readonly counts: boolean
    })

export interface CaptureFormat {
  next(window: Uint8Array): CaptureStep
}

/** Longest frame kept: what tcpdump calls MAXIMUM_SNAPLEN, above any super-packet. */
export const MAX_FRAME_BYTES = 262_144

/** Longest part of a file held at once: a frame with its headers and, in pcapng, its options. */
export const MAX_BLOCK_BYTES = MAX_FRAME_BYTES + 65_536

/** LINKTYPE_* numbers that frames are read from. */
export const LINK_TYPE = {
  loopback: 0,
  ethernet: 1,
  rawBsd: 12,
  rawOpenBsd: 14,
  raw: 101,
  loop: 108,
  linuxCooked: 113,
  ipv4: 228,
  ipv6: 229,
  linuxCooked2: 276,
} as const
