/**
 * The map-cache and what the datapath was told of it, kept equal: every change goes through here.
 *
 * An entry becomes forward, native, drop or hold (RFC 9301 §5.4 actions; locators by
 * encapsulation-choice.ts); packets that waited for it leave in order or are given up with a reason;
 * the locators in use are probed, and entries are written anew when one of them goes down or comes
 * up. When to ask the mapping system is decided in itr.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import {
  coversEid,
  coversPrefix,
  type Eid,
  type EidPrefix,
  formatEid,
  formatEidPrefix,
} from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Action, Mapping } from '../../lisp/mapping.js'
import type { MapCacheInsertion } from '../../tables/map-cache.js'
import { createMapCache, type MapCache, type MapCacheEntry } from '../../tables/map-cache.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { createEchoNonce, type EchoNonce } from '../closed-network/echo-nonce.js'
import { createRemoteFacts, type RemoteFacts } from '../closed-network/remote-facts.js'
import { namesUs } from '../control-datagram.js'
import type { Encapsulation, HoldGiveUpReason } from '../datapath-operation.js'
import { createDeadlines, earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { push, report } from '../outputs.js'
import type { MapCacheView } from '../snapshot.js'
import { pageOf, type TablePage, type TableQuery } from '../table-pages.js'
import { chooseEncapsulations, usableLocators } from './encapsulation-choice.js'
import {
  BLIND,
  nextStep,
  type PathSight,
  type PathStep,
  pathOf,
  probedRlocs,
} from './explicit-path.js'
import { proxyEncapsulations } from './native-forwarding.js'
import { createPathLookups } from './path-lookups.js'
import { createPathMtu, type PathMtu } from './path-mtu.js'
import { createRlocProbe, type RlocProbe } from './rloc-probe.js'

export type DatapathAction = 'forward' | 'native' | 'drop' | 'hold'

export interface InstalledMappings {
  readonly cache: MapCache
  readonly probe: RlocProbe
  readonly echo: EchoNonce
  readonly facts: RemoteFacts
  readonly pathMtu: PathMtu
  /** Hops of explicit locator paths that are to be asked for now; each is named once. */
  wantedHops(): readonly Eid[]
  /** EIDs of which packets wait for a mapping. */
  noteHeld(eid: Eid): void
  /** Inserts, tells the datapath, withdraws what was replaced; returns what stands now. */
  put(
    mapping: Mapping,
    insertion: MapCacheInsertion,
    release: readonly Eid[],
    now: Instant,
    outputs: Output[],
  ): readonly MapCacheEntry[]
  /** Writes an entry again, releasing these EIDs beside those known to be held. */
  apply(entry: MapCacheEntry, release: readonly Eid[], now: Instant, outputs: Output[]): void
  /** Takes over an entry that is in the datapath already. */
  adopt(
    mapping: Mapping,
    action: DatapathAction,
    lifetimeMs: number,
    now: Instant,
    outputs: Output[],
  ): void
  remove(eidPrefix: EidPrefix, reason: string, outputs: Output[]): boolean
  dropHeld(eid: Eid, reason: HoldGiveUpReason, outputs: Output[]): void
  actionOf(entry: MapCacheEntry): DatapathAction | undefined
  /** Prefixes whose use is to be asked for now, because their end is near. */
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  views(now: Instant): MapCacheView[]
  page(query: TableQuery, now: Instant): TablePage<MapCacheView>
}

interface Installed {
  readonly eidPrefix: EidPrefix
  readonly action: DatapathAction
  readonly rlocs: readonly string[]
}

/** Refresh between 80 and 90 % of the lifetime, if the entry was used: our choice. */
const REFRESH_FROM = 0.8
const REFRESH_SPREAD = 0.1
/** EIDs with held packets that are remembered; more are resolved all the same. */
const MAXIMUM_HELD_EIDS = 65_536

export function createInstalledMappings(
  config: NodeConfig,
  { random }: Capabilities,
): InstalledMappings {
  const cache = createMapCache({ maximumEntries: config.mapCache.maximumEntries })
  const installed = new Map<string, Installed>()
  /** RLOC → the prefixes that use it. */
  const users = new Map<
    string,
    { readonly rloc: Rloc; readonly prefixes: Map<string, EidPrefix> }
  >()
  const held = new Map<string, Eid>()
  const refreshes = createDeadlines()
  const lookups = createPathLookups()
  const wanted = new Map<string, Eid>()
  const probe = createRlocProbe(config, random, {
    prefixOf: (rloc) => users.get(formatIpAddress(rloc))?.prefixes.values().next().value,
    changed: (rloc, _reachable, now, outputs) => applyAll(rloc, now, outputs),
  })
  const petrs = new Set(config.interworking?.petrRlocs?.map(formatIpAddress))
  const pathMtu = createPathMtu(config, {
    isUsed(rloc, instanceId) {
      const name = formatIpAddress(rloc)
      const prefixes = users.get(name)?.prefixes.values() ?? []
      for (const one of prefixes)
        if (instanceId === undefined || one.instanceId === instanceId) return true
      return petrs.has(name)
    },
    changed(rloc, now, outputs) {
      applyAll(rloc, now, outputs)
      if (!petrs.has(formatIpAddress(rloc))) return
      for (const entry of cache.entries())
        if (entry.mapping.locators.length === 0 && proxyEncapsulations(config, entry).length > 0)
          apply(entry, [], now, outputs)
    },
  })

  const echo = createEchoNonce(config, random, (rloc, now, outputs) =>
    probe.fail(rloc, now, outputs),
  )
  const facts = createRemoteFacts(config)

  /** Writes again what is sent to `rloc`, now that something else is known of it. */
  function applyAll(rloc: Rloc, now: Instant, outputs: Output[]): void {
    for (const eidPrefix of users.get(formatIpAddress(rloc))?.prefixes.values() ?? []) {
      const entry = cache.exact(eidPrefix)
      if (entry !== undefined) apply(entry, [], now, outputs)
    }
  }

  function apply(
    entry: MapCacheEntry,
    also: readonly Eid[],
    now: Instant,
    outputs: Output[],
  ): void {
    const { eidPrefix } = entry.mapping
    const hop = (eid: Eid) => locatorOfHop(eid, eidPrefix, now)
    const { action, giveUp, ...chosen } = treatment(config, entry, probe.isDown, hop)
    const encapsulations = chosen.encapsulations.map(pathMtu.fit)
    const waiting = action === 'hold' ? [] : heldUnder(eidPrefix, also, now)
    for (const eid of waiting) held.delete(formatEid(eid))
    const release = action === 'drop' ? [] : waiting
    const senders = sendersOf(config, entry)
    push(outputs, { kind: 'put-map-cache', eidPrefix, action, encapsulations, ...senders, release })
    if (entry.origin !== 'local') facts.installed(entry, now, outputs)
    if (action === 'drop')
      for (const eid of waiting) push(outputs, { kind: 'drop-held', eid, reason: giveUp })
    remember(entry, action, now, outputs)
  }

  /** Where a looked-up hop is; it is asked for when nothing is known of it. */
  function locatorOfHop(eid: Eid, user: EidPrefix, now: Instant): Rloc | 'unknown' | 'nowhere' {
    const found = cache.lookup(eid, now)
    if (!lookups.depend(eid, user)) return 'nowhere'
    if (found.kind === 'miss') {
      wanted.set(formatEid(eid), eid)
      return 'unknown'
    }
    // No path inside a path: it could lead in circles.
    const plain = found.entry.mapping.locators.filter((one) => pathOf(one) === undefined)
    return chooseEncapsulations(config, plain, probe.isDown)[0]?.locator.rloc ?? 'nowhere'
  }

  /** What leads over a looked-up hop, now that something else is known of it. */
  function applyUsers(learned: EidPrefix, now: Instant, outputs: Output[]): void {
    for (const user of lookups.usersOf(learned)) {
      const entry = cache.exact(user)
      if (entry !== undefined) apply(entry, [], now, outputs)
    }
  }

  /** Held EIDs whose best match is now this prefix. A host prefix costs one probe, others a walk. */
  function heldUnder(eidPrefix: EidPrefix, also: readonly Eid[], now: Instant): Eid[] {
    const found = new Map(also.map((eid) => [formatEid(eid), eid]))
    if (eidPrefix.maskLength === eidPrefix.address.bytes.length * 8) {
      const name = formatEid({ instanceId: eidPrefix.instanceId, address: eidPrefix.address })
      const eid = held.get(name)
      if (eid !== undefined) found.set(name, eid)
      return [...found.values()]
    }
    const name = formatEidPrefix(eidPrefix)
    for (const [key, eid] of held) {
      if (!coversEid(eidPrefix, eid)) continue
      const best = cache.lookup(eid, now)
      if (best.kind !== 'miss' && formatEidPrefix(best.entry.mapping.eidPrefix) === name)
        found.set(key, eid)
    }
    return [...found.values()]
  }

  /** Keeps the locator index, probing and the refresh deadline in step with what was written. */
  function remember(
    entry: MapCacheEntry,
    action: DatapathAction,
    now: Instant,
    outputs: Output[],
  ): void {
    const { eidPrefix, locators } = entry.mapping
    const key = formatEidPrefix(eidPrefix)
    const sight = { ...BLIND, locatorOf: (eid: Eid) => locatorOfHop(eid, eidPrefix, now) }
    const rlocs = usableLocators(config, locators).flatMap((one) => probedRlocs(config, one, sight))
    const names = rlocs.map(formatIpAddress)
    for (const name of installed.get(key)?.rlocs ?? [])
      if (!names.includes(name)) unuse(name, key, outputs)
    for (const [index, rloc] of rlocs.entries()) {
      const name = names[index]!
      const use = users.get(name) ?? { rloc, prefixes: new Map<string, EidPrefix>() }
      users.set(name, use)
      use.prefixes.set(key, eidPrefix)
      echo.track(rloc)
      if (!probe.track(rloc, now))
        report(outputs, 'map-reply-rejected', 'warning', {
          reason: 'too-many-locators',
          rloc: name,
        })
    }
    installed.set(key, { eidPrefix, action, rlocs: names })
    if (!Number.isFinite(entry.expiresAt)) refreshes.cancel(key)
    else if (!entry.refreshing) {
      const share = REFRESH_FROM + REFRESH_SPREAD * random.fraction()
      const at = entry.installedAt + (entry.expiresAt - entry.installedAt) * share
      if (at > now) refreshes.set(key, at)
    }
  }

  function unuse(name: string, key: string, outputs: Output[]): void {
    const use = users.get(name)
    if (use === undefined) return
    use.prefixes.delete(key)
    if (use.prefixes.size > 0) return
    users.delete(name)
    probe.untrack(use.rloc)
    echo.untrack(use.rloc, outputs)
  }

  function withdraw(eidPrefix: EidPrefix, reason: string, outputs: Output[]): void {
    const key = formatEidPrefix(eidPrefix)
    for (const name of installed.get(key)?.rlocs ?? []) unuse(name, key, outputs)
    facts.removed(eidPrefix, outputs)
    refreshes.cancel(key)
    lookups.forget(eidPrefix)
    if (!installed.delete(key)) return
    push(outputs, { kind: 'delete-map-cache', eidPrefix })
    report(outputs, 'mapping-removed', 'debug', { reason, eidPrefix: key })
  }

  return {
    cache,
    probe,
    echo,
    facts,
    pathMtu,
    wantedHops() {
      const hops = [...wanted.values()]
      wanted.clear()
      return hops
    },
    noteHeld(eid) {
      if (held.size >= MAXIMUM_HELD_EIDS)
        for (const oldest of held.keys()) if (held.delete(oldest)) break
      held.set(formatEid(eid), eid)
    },
    put(mapping, insertion, release, now, outputs) {
      const change = cache.insert([mapping], insertion, now)
      for (const entry of change.installed) {
        apply(entry, release, now, outputs)
        applyUsers(entry.mapping.eidPrefix, now, outputs)
      }
      // After the new entry: a packet sees the old one or the new one, never neither.
      for (const one of change.removed) withdraw(one.entry.mapping.eidPrefix, one.reason, outputs)
      return change.installed
    },
    apply,
    adopt(mapping, action, lifetimeMs, now, outputs) {
      const change = cache.insert([mapping], { origin: 'restored', lifetimeMs }, now)
      for (const entry of change.installed) remember(entry, action, now, outputs)
    },
    remove(eidPrefix, reason, outputs) {
      if (cache.remove(eidPrefix) === undefined) return false
      withdraw(eidPrefix, reason, outputs)
      return true
    },
    dropHeld(eid, reason, outputs) {
      held.delete(formatEid(eid))
      push(outputs, { kind: 'drop-held', eid, reason })
    },
    actionOf: (entry) => installed.get(formatEidPrefix(entry.mapping.eidPrefix))?.action,
    handleDeadline(now, outputs) {
      for (const key of refreshes.due(now)) {
        const eidPrefix = installed.get(key)?.eidPrefix
        if (eidPrefix !== undefined) push(outputs, { kind: 'query-usage', eidPrefix })
      }
      for (const entry of cache.expire(now)) {
        withdraw(entry.mapping.eidPrefix, 'expired', outputs)
        applyUsers(entry.mapping.eidPrefix, now, outputs)
      }
      probe.handleDeadline(now, outputs)
      pathMtu.handleDeadline(now, outputs)
      echo.handleDeadline(now, outputs)
      facts.handleDeadline(now, outputs)
    },
    deadline: () =>
      earliest(
        refreshes.next(),
        cache.nextExpiry(),
        probe.deadline(),
        pathMtu.deadline(),
        echo.deadline(),
        facts.deadline(),
      ),
    views: (now) => [...cache.entries()].map((entry) => view(config, entry, now)),
    page: (query, now) =>
      pageOf(
        cache,
        query,
        (entry) => entry.mapping.eidPrefix,
        (entry) => [view(config, entry, now)],
      ),
  }
}

/** Where sources are checked: all RLOCs of the mapping, also those that it prefers less. */
function sendersOf(
  { closedNetwork }: NodeConfig,
  { mapping }: MapCacheEntry,
): { readonly senders?: readonly Rloc[] } {
  if (closedNetwork?.checkSources !== true) return {}
  return { senders: mapping.locators.map((one) => one.rloc) }
}

/** What RFC 9301 §5.4 says to do under this mapping, from here and now. */
function treatment(
  config: NodeConfig,
  entry: MapCacheEntry,
  isDown: (rloc: Rloc) => boolean,
  locatorOf: PathSight['locatorOf'],
): {
  action: DatapathAction
  encapsulations: readonly Encapsulation[]
  giveUp: HoldGiveUpReason
} {
  const { eidPrefix, locators, action } = entry.mapping
  const giveUp = 'no-locator' as const
  if (locators.length === 0) {
    const proxied = proxyEncapsulations(config, entry)
    if (proxied.length > 0) return { action: 'forward', encapsulations: proxied, giveUp }
    return { action: ACTION_OF[action], encapsulations: [], giveUp: 'negative-mapping' }
  }
  const encapsulations = chooseEncapsulations(config, locators, isDown, locatorOf)
  if (encapsulations.length > 0) return { action: 'forward', encapsulations, giveUp }
  const sight = { isDown, locatorOf }
  // A hop of the path is being looked up: packets wait for it as for a mapping.
  if (usableLocators(config, locators).some((one) => isLookup(nextStep(config, one, sight))))
    return { action: 'hold', encapsulations: [], giveUp }
  // A mapping that names only us, of an EID that may live here: the kernel's own routing finds it.
  const here =
    namesUs(config, locators) &&
    [...config.eidPrefixes, ...config.dynamicEidPrefixes].some((one) =>
      coversPrefix(one.eidPrefix, eidPrefix),
    )
  return { action: here ? 'native' : 'drop', encapsulations: [], giveUp }
}

function isLookup(step: PathStep | undefined): boolean {
  return step?.kind === 'lookup'
}

/**
 * ACT of a negative mapping in the datapath. no-action means "no encapsulation" (RFC 9301 §5.4) and
 * nothing else, so the packet has nowhere to go; send-map-request lets each packet ask, within rate.
 */
const ACTION_OF: Readonly<Record<Action, DatapathAction>> = {
  'no-action': 'drop',
  'natively-forward': 'native',
  'send-map-request': 'hold',
  drop: 'drop',
  'drop-policy-denied': 'drop',
  'drop-auth-failure': 'drop',
}

function view(config: NodeConfig, entry: MapCacheEntry, now: Instant): MapCacheView {
  const { mapping } = entry
  const proxied = mapping.locators.length > 0 ? [] : proxyEncapsulations(config, entry)
  // What packets do: to a Proxy-ETR they are forwarded, although the mapping says natively.
  const locators = proxied.length > 0 ? proxied.map((one) => one.locator) : mapping.locators
  return {
    eidPrefix: formatEidPrefix(mapping.eidPrefix),
    instanceId: mapping.eidPrefix.instanceId,
    action: locators.length > 0 ? 'forward' : mapping.action,
    locators: locators.map((one) => ({
      rloc: formatIpAddress(one.rloc),
      priority: one.priority,
      weight: one.weight,
      reachable: one.reachable,
    })),
    mapVersion: mapping.mapVersion,
    // JSON knows no infinity: an entry of our own does not age, and says so with 0.
    expiresInMs: Number.isFinite(entry.expiresAt) ? Math.max(0, entry.expiresAt - now) : 0,
    installedAgoMs: now - entry.installedAt,
    origin: entry.origin,
    refreshing: entry.refreshing,
  }
}
