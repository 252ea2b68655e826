/**
 * Order of map-versions: 12-bit serial numbers in which 0 says "no version" (RFC 9302 §6).
 */

/** 0 is never compared (RFC 9302 §6.1). */
const NULL_MAP_VERSION = 0

/**
 * Whether `version` was given out after `than`, by the three steps of RFC 9302 §6. False when they
 * are equal, and false when either is the null version.
 */
export function isNewerMapVersion(version: number, than: number): boolean {
  if (version === NULL_MAP_VERSION || than === NULL_MAP_VERSION) return false
  if (version > than) return version - than <= HALF
  return than - version > HALF
}

/** The version after `version`: 4095 is followed by 1 (RFC 9302 §6); the null version by 1. */
export function nextMapVersion(version: number): number {
  return version >= LAST ? 1 : version + 1
}

const HALF = 2048
const LAST = 4095
