/**
 * Map-versions that this site has heard of an EID-prefix (RFC 9302 §6: serial arithmetic). The highest
 * one tells old words from new ones, whoever said them.
 */
import { isNewerMapVersion } from '../lisp/map-version.js'
import type { DatabaseEntry } from '../tables/mapping-database.js'

/** Notes the highest version anyone claimed. */
export function hear(entry: DatabaseEntry, version: number): void {
  if (version === 0) return
  if (entry.heardVersion === 0 || isNewerMapVersion(version, entry.heardVersion))
    entry.heardVersion = version
}

/** True when the version is not newer than what we were granted, heard or claim ourselves. */
export function isKnownVersion(entry: DatabaseEntry, version: number): boolean {
  return [entry.grantedVersion, entry.heardVersion, entry.claimVersion].some(
    (one) => one !== 0 && !isNewerMapVersion(version, one),
  )
}
