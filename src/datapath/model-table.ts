/**
 * One of the two tables of the model (map-cache, local EIDs): a hash of hosts and a trie of prefixes.
 *
 * Replacing an entry is one step. With EIDs to release it is two: the draining form now, the final
 * form when the hold is empty; puts that come meanwhile go through the hold behind the first one,
 * and a removal waits for the last. Counters belong to the entry and survive its replacement.
 */
import type { Eid, EidPrefix } from '../lisp/eid.js'
import { formatEidPrefix, hostPrefix, isHostPrefix } from '../lisp/eid.js'
import { createEidTrie } from '../tables/eid-trie.js'
import type { Copies, HoldPurpose, HoldRelease } from './model-hold.js'

export interface ModelEntry<Form> {
  readonly eidPrefix: EidPrefix
  readonly text: string
  /** What a packet meets at this moment. */
  form: Form
  /** Only packets out of the hold may pass, newer ones join it. */
  draining: boolean
  /** Releases under way. */
  pending: number
  packets: number
  bytes: number
  lastUsedAt: number | undefined
}

interface Tracked<Form> extends ModelEntry<Form> {
  lastReleased: Eid | undefined
  deleteWanted: boolean
}

export interface ModelPut<Form> {
  readonly eidPrefix: EidPrefix
  readonly form: Form
  /** Whether this form has a draining variant at all. */
  readonly drains: boolean
  readonly release: readonly Eid[]
  /** Of its releases. */
  readonly copies?: Copies
}

export interface ModelTable<Form> {
  readonly size: number
  /** False when the table is full: nothing has changed then. */
  put(put: ModelPut<Form>): boolean
  remove(eidPrefix: EidPrefix): void
  get(eidPrefix: EidPrefix): ModelEntry<Form> | undefined
  host(eidText: string): ModelEntry<Form> | undefined
  prefixOf(eid: Eid): ModelEntry<Form> | undefined
  entries(): Iterable<ModelEntry<Form>>
  /** The control plane died: no release under way will ever end. */
  abandonReleases(): void
  /** Draining forms become final ones, as a restart writes them. */
  settleForms(): void
}

export function createModelTable<Form>(options: {
  readonly purpose: HoldPurpose
  readonly maximumEntries: number
  readonly release: (release: HoldRelease) => void
}): ModelTable<Form> {
  const hosts = new Map<string, Tracked<Form>>()
  const prefixes = createEidTrie<Tracked<Form>>()
  const byText = new Map<string, Tracked<Form>>()

  function add(eidPrefix: EidPrefix, text: string, form: Form): Tracked<Form> {
    const use = { packets: 0, bytes: 0, lastUsedAt: undefined }
    const flow = { draining: false, pending: 0, lastReleased: undefined, deleteWanted: false }
    const entry: Tracked<Form> = { eidPrefix, text, form, ...use, ...flow }
    byText.set(text, entry)
    if (isHostPrefix(eidPrefix)) hosts.set(hostText(text), entry)
    else prefixes.insert(eidPrefix, entry)
    return entry
  }

  function erase(entry: Tracked<Form>): void {
    byText.delete(entry.text)
    if (isHostPrefix(entry.eidPrefix)) hosts.delete(hostText(entry.text))
    else prefixes.remove(entry.eidPrefix)
  }

  function release(
    entry: Tracked<Form>,
    eid: Eid,
    final: Form | undefined,
    announced: boolean,
    copies: Copies = 'all',
  ): void {
    entry.pending += 1
    entry.lastReleased = eid
    const flip = (): void => {
      entry.form = final!
      entry.draining = false
    }
    const done = (): void => {
      entry.pending -= 1
      if (entry.pending === 0 && entry.deleteWanted) erase(entry)
    }
    const { purpose } = options
    options.release({ purpose, eid, flip: final && flip, announced, done, copies })
  }

  return {
    get size() {
      return byText.size
    },
    put({ eidPrefix, form, drains, release: eids, copies }) {
      const text = formatEidPrefix(eidPrefix)
      const known = byText.get(text)
      if (known === undefined && byText.size >= options.maximumEntries) return false
      const entry = known ?? add(eidPrefix, text, form)
      entry.deleteWanted = false
      const last = eids.length - 1
      if (entry.pending > 0 && entry.lastReleased !== undefined) {
        // Behind the release that is under way, or its final form would overwrite this one.
        if (last < 0) release(entry, entry.lastReleased, form, false, copies)
        eids.forEach((eid, index) => {
          release(entry, eid, index === last ? form : undefined, true, copies)
        })
        return true
      }
      entry.form = form
      entry.draining = drains && last >= 0
      eids.forEach((eid, index) => {
        release(entry, eid, entry.draining && index === last ? form : undefined, true, copies)
      })
      return true
    },
    remove(eidPrefix) {
      const entry = byText.get(formatEidPrefix(eidPrefix))
      if (entry === undefined) return
      if (entry.pending > 0) entry.deleteWanted = true
      else erase(entry)
    },
    get: (eidPrefix) => byText.get(formatEidPrefix(eidPrefix)),
    host: (eidText) => hosts.get(eidText),
    prefixOf: (eid) => prefixes.longestCovering(hostPrefix(eid))?.value,
    entries: () => byText.values(),
    abandonReleases() {
      for (const entry of [...byText.values()]) {
        entry.pending = 0
        if (entry.deleteWanted) entry.deleteWanted = false
      }
    },
    settleForms() {
      for (const entry of byText.values()) entry.draining = false
    },
  }
}

/** `[7]10.1.0.5/32` → `[7]10.1.0.5`: the text of the only EID of a host prefix. */
function hostText(text: string): string {
  return text.slice(0, text.lastIndexOf('/'))
}
