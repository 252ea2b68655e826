/**
 * Map-Notifies at an ETR (RFC 9301 §5.7): whether one is genuine, fresh and about us, and what it means.
 *
 * It is known by the key of one of our Map-Servers, taken once per nonce, and acknowledged, also when
 * it was taken before: our acknowledgement was lost. One that answers a Map-Register belongs to
 * registrar.ts. One that came unasked and names another place is a departure, unless its version is not
 * newer than what we know, or a move says otherwise. What a departure changes is decided in etr.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { encodeSigned, verifyMessage } from '../../lisp/authentication.js'
import { formatEidPrefix } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import { isNewerMapVersion } from '../../lisp/map-version.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapNotify } from '../../lisp/message.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { namesUs, sendControl } from '../control-datagram.js'
import { hear, isKnownVersion } from '../heard-version.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { keyTowards } from '../peer-profile.js'
import { createReplayWindow } from '../replay-window.js'
import { persistLastNonce } from '../rising-counter.js'
import type { StoredRecord } from '../stored-record.js'
import type { EidPlacement } from './eid-placement.js'
import type { Registrar } from './registrar.js'
import type { Smr } from './smr.js'

export interface NotifyReception {
  /** Handles a Map-Notify from `from`, genuine or not. */
  handle(notify: MapNotify, bytes: Uint8Array, from: Rloc, now: Instant, outputs: Output[]): void
  /** Takes back how far each Map-Server had counted. */
  restoreNonces(records: readonly StoredRecord[]): void
}

export interface NotifyConsequences {
  /** The record names where the EID is now. */
  depart(entry: DatabaseEntry, record: Mapping, now: Instant, outputs: Output[]): void
  /** It was redirected already, and that is certain now. */
  settleDeparture(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
}

export function createNotifyReception(
  config: NodeConfig,
  capabilities: Capabilities,
  parts: {
    readonly database: MappingDatabase
    readonly placement: EidPlacement
    readonly smr: Smr
  },
  registrar: Registrar,
  callbacks: NotifyConsequences,
): NotifyReception {
  const { database, placement, smr } = parts
  /** Of the Map-Notifies that each Map-Server sends unasked. */
  const windows = config.mapServers.map(() => createReplayWindow(0n))

  function serverOf(bytes: Uint8Array, from: Rloc): number | undefined {
    const name = formatIpAddress(from)
    // A Map-Server with several addresses may answer from any: its key tells who it is.
    const order = config.mapServers.map((server, index) => ({ server, index }))
    order.sort((a, b) => rank(a.server.address, name) - rank(b.server.address, name))
    return order.find(({ server }) => verifyMessage(bytes, keyTowards(server), capabilities.hmac))
      ?.index
  }

  function acknowledge(index: number, notify: MapNotify, to: Rloc, outputs: Output[]): void {
    const ack = { ...notify, kind: 'map-notify-ack' as const }
    sendControl(
      config,
      to,
      encodeSigned(ack, keyTowards(config.mapServers[index]!), capabilities.hmac),
      outputs,
    )
  }

  /** @param late overtaken by a later Map-Notify, so that only its version tells what it is worth */
  function applyRecord(record: Mapping, late: boolean, now: Instant, outputs: Output[]): void {
    const entry = database.get(record.eidPrefix)
    const ignore = (reason: string): void =>
      report(outputs, 'map-notify-rejected', 'info', {
        reason,
        eidPrefix: formatEidPrefix(record.eidPrefix),
      })
    if (entry === undefined) {
      ignore('not-ours')
      return
    }
    if (record.locators.length === 0) {
      ignore('negative')
      return
    }
    if (namesUs(config, record.locators)) {
      ignore('names-us')
      return
    }
    if (late && record.mapVersion === 0) {
      ignore('out-of-order')
      return
    }
    if (entry.state === 'away' && !namesSame(entry.awayLocators, record.locators)) {
      if (isNewerMapVersion(entry.heardVersion, record.mapVersion)) {
        ignore('older-version')
        return
      }
      const options = { committed: true, mapVersion: record.mapVersion, release: false }
      placement.away(entry, record.locators, options, now, outputs)
    }
    if (entry.state === 'away') {
      hear(entry, record.mapVersion)
      if (!entry.committed) {
        callbacks.settleDeparture(entry, now, outputs)
      }
      smr.mappingKnown(entry, now, outputs)
      return
    }
    if (entry.state === 'standby') {
      hear(entry, record.mapVersion)
      ignore('expected-here')
      return
    }
    if (entry.kind === 'static') {
      ignore('static-prefix')
      return
    }
    if (record.mapVersion !== 0 && isKnownVersion(entry, record.mapVersion)) {
      ignore('older-version')
      return
    }
    callbacks.depart(entry, record, now, outputs)
  }

  return {
    handle(notify, bytes, from, now, outputs) {
      const reject = (reason: string): void =>
        report(outputs, 'map-notify-rejected', 'notice', { reason, from: formatIpAddress(from) })
      const index = serverOf(bytes, from)
      if (index === undefined) return reject('authentication-failed')
      if (registrar.handleAcknowledgement(index, notify, now, outputs)) return
      const former = windows[index]!.highest
      const freshness = windows[index]!.accept(notify.nonce)
      if (freshness === 'replayed') return reject('replayed')
      // Repeated: our acknowledgement was lost.
      if (freshness === 'new') {
        const late = notify.nonce < former
        const sender = notifySender(config.mapServers[index]!.address)
        if (!late) persistLastNonce(sender, notify.nonce, outputs)
        report(outputs, 'map-notify-received', 'info', {
          from: formatIpAddress(from),
          records: notify.records.length,
        })
        for (const record of notify.records) applyRecord(record, late, now, outputs)
      }
      acknowledge(index, notify, from, outputs)
    },
    restoreNonces(records) {
      for (const record of records) {
        if (record.kind !== 'last-nonce') continue
        const index = config.mapServers.findIndex(
          (one) => notifySender(one.address) === record.sender,
        )
        if (index < 0) continue
        // The last one itself may come again: whether it was acknowledged is not known.
        windows[index] = createReplayWindow(record.nonce - 1n)
        windows[index].accept(record.nonce)
      }
    },
  }
}

function rank(address: Rloc, name: string): number {
  return formatIpAddress(address) === name ? 0 : 1
}

function notifySender(address: Rloc): string {
  return `map-notify/${formatIpAddress(address)}`
}

/** Whether both sets name the same RLOCs; priorities may differ. */
function namesSame(a: readonly Locator[], b: readonly Locator[]): boolean {
  const names = (set: readonly Locator[]): string =>
    set
      .map((one) => formatIpAddress(one.rloc))
      .sort()
      .join(' ')
  return names(a) === names(b)
}
