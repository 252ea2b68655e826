/**
 * The events of the Map-Server's registrations: what was refused, what changed, what went.
 */
import { formatIpAddress } from '../../lisp/address.js'
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import { formatLocator } from '../../lisp/locator.js'
import type { Registration } from '../../tables/registrations.js'
import type { Severity } from '../event.js'
import type { Output } from '../input-output.js'
import type { Datagram } from './register-guard.js'

export interface RegistrationChange {
  readonly eidPrefix: EidPrefix
  readonly before: Registration | undefined
  /** Undefined when the prefix was withdrawn. */
  readonly after: Registration | undefined
}

/** A Map-Register, or one record of it, was not applied. */
export function rejected(
  reason: string,
  datagram: Datagram,
  eidPrefix: EidPrefix | undefined,
): Output {
  return {
    kind: 'event',
    event: {
      name: 'map-register-rejected',
      severity: SEVERITIES[reason] ?? 'warning',
      reason,
      from: formatIpAddress(datagram.from),
      eidPrefix: eidPrefix === undefined ? undefined : formatEidPrefix(eidPrefix),
    },
  }
}

/** A registration was added, changed or withdrawn by `owner`. */
export function changed(change: RegistrationChange, owner: string, site: string): Output {
  const { before, after } = change
  const name =
    after === undefined
      ? 'registration-removed'
      : before === undefined
        ? 'registration-added'
        : 'registration-changed'
  return {
    kind: 'event',
    event: {
      name,
      severity: 'info',
      eidPrefix: formatEidPrefix(change.eidPrefix),
      site,
      owner,
      previousOwner: before?.registrants.at(-1)?.owner,
      mapVersion: after?.mapVersion ?? before?.mapVersion,
      locators: after?.locators.map(formatLocator) ?? [],
      ...(after === undefined ? { reason: 'withdrawn' } : {}),
    },
  }
}

/** A registration or the memory of its version is gone without anybody having asked for it. */
export function removed(eidPrefix: EidPrefix, site: string, owner: string, reason: string): Output {
  const prefix = formatEidPrefix(eidPrefix)
  const event = { name: 'registration-removed', severity: 'info' } as const
  return { kind: 'event', event: { ...event, reason, eidPrefix: prefix, site, owner } }
}

const SEVERITIES: { readonly [reason: string]: Severity } = {
  repeated: 'debug',
  'withdrawn-by-other': 'info',
  'not-registered': 'debug',
  'version-not-newer': 'notice',
  'stale-until-notified': 'notice',
}
