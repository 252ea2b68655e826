/**
 * An xTR: the ITR, the ETR and the two sides of a move, wired to one table of EIDs.
 *
 * Decides only who hears of what: the roles know each other through the parts and callbacks given
 * here, and through nothing else. Datagrams are taken apart in node.ts.
 */
import type { NodeConfig } from '../config/node-config.js'
import { type Eid, eidFromPrefix, formatEid, formatEidPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import type { Mapping } from '../lisp/mapping.js'
import type { MoveMessage } from '../lisp/message.js'
import { createMappingDatabase, type DatabaseEntry } from '../tables/mapping-database.js'
import type { Capabilities, Instant } from './capabilities.js'
import { createOwnFacts, type OwnFacts } from './closed-network/own-facts.js'
import type { Command, CommandResult } from './command.js'
import type { DatapathEvent } from './datapath-event.js'
import { earliest } from './deadlines.js'
import { createDatabaseViews, locatorView } from './etr/database-views.js'
import { createEidPlacement } from './etr/eid-placement.js'
import { createEtr, type Etr, type EtrCallbacks, refusal } from './etr/etr.js'
import { createHintedEids } from './etr/hinted-eids.js'
import { createRequestReplies, type RequestReplies } from './etr/map-request-replies.js'
import { createOwnLocatorChange } from './etr/own-locator-change.js'
import { createRecentSenders } from './etr/recent-senders.js'
import { createRestoredEids } from './etr/restored-eids.js'
import { createSmr } from './etr/smr.js'
import type { Output } from './input-output.js'
import { createItr, type Itr } from './itr/itr.js'
import { handleEndpointEvent } from './moves/endpoint-events.js'
import { createMoveExchange } from './moves/move-exchange.js'
import { createMoveLog } from './moves/move-log.js'
import { createMoveSource, type MoveSource } from './moves/move-source.js'
import { createMoves, type Moves } from './moves/moves.js'
import { createRedirectLoops } from './moves/redirect-loops.js'
import type { GroupView } from './multicast/group-views.js'
import type { PimLinkView } from './multicast/pim-links.js'
import type { ListenerView, SegmentView } from './multicast/segment-views.js'
import { createSiteMembership, type SiteMembership } from './multicast/site-membership.js'
import { createSiteMulticast, type SiteMulticast } from './multicast/site-multicast.js'
import { report } from './outputs.js'
import type { RestoredState } from './restored-state.js'
import { createRisingCounter, persist } from './rising-counter.js'
import type {
  LocatorStateView,
  MapCacheView,
  MappingDatabaseView,
  MoveView,
  SubscriptionView,
} from './snapshot.js'
import type { NodeTables, TableSizes } from './table-pages.js'

export interface Xtr {
  readonly itr: Itr
  readonly etr: Etr
  readonly replies: RequestReplies
  readonly multicast: SiteMulticast
  /** The first thing asked of it; `restored` is what an earlier run left. */
  start(restored: RestoredState | undefined, now: Instant, outputs: Output[]): void
  handleDatapath(event: DatapathEvent, now: Instant, outputs: Output[]): void
  /** After the last of the datapath events that came together. */
  endBatch(now: Instant, outputs: Output[]): void
  handleMove(
    message: MoveMessage,
    bytes: Uint8Array,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): void
  handleCommand(commandId: string, command: Command, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  /** Whole tables; each costs its length. */
  readonly views: {
    mapCache(now: Instant): MapCacheView[]
    mappingDatabase(now: Instant): MappingDatabaseView[]
    locators(now: Instant): LocatorStateView[]
    subscriptions(now: Instant): SubscriptionView[]
    moves(now: Instant): MoveView[]
    groups(): GroupView[]
    pimLinks(): readonly PimLinkView[]
    listeners(now: Instant): readonly ListenerView[]
    segments(): readonly SegmentView[]
  }
  readonly tables: Pick<NodeTables, 'mapCache' | 'mappingDatabase' | 'move'> & {
    sizes(): Omit<
      TableSizes,
      'registrations' | 'describedEids' | 'subscribersBehind' | 'groupMembers'
    >
  }
}

/** Single EIDs of dynamic prefixes that one site may have: what the datapath holds by default. */
const MAXIMUM_DYNAMIC_EIDS = 16_384
/** Three Map-Requests, at 0, 1 and 3 s. */
const QUERY_MS = 4000

export function createXtr(config: NodeConfig, capabilities: Capabilities): Xtr {
  const { random } = capabilities
  const database = createMappingDatabase(
    config.eidPrefixes,
    config.dynamicEidPrefixes,
    MAXIMUM_DYNAMIC_EIDS,
  )
  const shown = createDatabaseViews(config, database)
  // One counter for registers and moves: what rises for one Map-Server may skip for the other.
  const nonces = createRisingCounter('register')
  const moveCounter = createRisingCounter('move')
  const itr = createItr(config, capabilities)
  const placement = createEidPlacement(config, database, itr, {
    placed(entry, now, outputs) {
      ownFacts.changed(entry, now, outputs)
      if (entry.state !== 'local' || entry.arrivedAt !== now) return
      membership.arrived(entry, now, outputs)
      multicast.arrived(entry.eid, now, outputs)
    },
    forgotten: (entry, outputs) => ownFacts.forgotten(entry, outputs),
  })
  const log = createMoveLog()
  const exchange = createMoveExchange(config, capabilities, nonces)
  // The roles below tell each other what happened; who is told is known once all of them are there.
  const multicast = createSiteMulticast(config, capabilities, {
    database,
    nonces,
    spoken: (serverIndex, nonce) => etr.registrar.spoken(serverIndex, nonce),
    isDown: (rloc) => itr.isDown(rloc),
    groupsOf: (entry, limit) => membership.groupsOf(entry, limit),
    question: itr.question,
    solicit: (eid, to, now, outputs) => smr.solicit(eid, to, now, outputs),
  })
  const membership: SiteMembership = createSiteMembership(config, {
    changed: multicast.handleEvent,
    querierChanged: multicast.designate,
  })
  const hears: { callbacks: EtrCallbacks; source: MoveSource | undefined } = {
    callbacks: { arrived() {}, registered() {}, departed() {} },
    source: undefined,
  }
  const smr = createSmr(config, random, database, (entry, sender, now, outputs) =>
    hears.source?.solicited(entry, sender, now, outputs),
  )
  const ownFacts: OwnFacts = createOwnFacts(config, database, smr)
  const etr = createEtr(
    config,
    capabilities,
    { database, itr, placement, smr, nonces },
    {
      arrived: (entry, former) => hears.callbacks.arrived(entry, former),
      registered(entry, now, outputs) {
        ownFacts.changed(entry, now, outputs)
        hears.callbacks.registered(entry, now, outputs)
      },
      departed: (entry, now, outputs) => hears.callbacks.departed(entry, now, outputs),
      left(entry, now, outputs) {
        membership.departed(entry, now, outputs)
        multicast.departed(now, outputs)
      },
    },
  )
  const senders = createRecentSenders()
  const parts = {
    ...{ database, itr, placement, smr, etr, exchange, log, senders },
    groupsOf: multicast.handOver,
    expectGroups: multicast.expect,
  }
  const source = createMoveSource(config, parts)
  const moves: Moves = createMoves(config, random, moveCounter, parts, source)
  hears.source = source
  hears.callbacks = {
    arrived: (entry, former) => moves.detected(entry, former),
    registered(entry, now, outputs) {
      moves.convergence.registered(entry, now, outputs)
      ownChange.registered(entry, now)
    },
    departed(entry, now) {
      source.departed(entry, now)
      moves.convergence.departed(entry)
    },
  }
  const isMoving = (entry: DatabaseEntry): boolean =>
    moves.isMoving(entry.eid) || source.isMoving(entry.eid)
  const loops = createRedirectLoops({ database, placement, smr, isMoving })
  const ownChange = createOwnLocatorChange(config, { database, placement, smr, senders })
  const { wasOurs } = ownChange
  const eids = { database, itr, placement, etr, isMoving, wasOurs }
  const restoredEids = createRestoredEids(config, eids)
  const hinted = createHintedEids(database)
  const answerRequest = createRequestReplies(config, database)

  function start(restored: RestoredState | undefined, now: Instant, outputs: Output[]): void {
    for (const record of restored?.records ?? []) {
      if (record.kind !== 'reservation') continue
      if (record.scope === 'register') nonces.restore(record.ceiling)
      if (record.scope === 'move') moveCounter.restore(record.ceiling)
    }
    exchange.restore(restored?.records ?? [])
    etr.restoreNonces(restored?.records ?? [])
    itr.open(restored?.records ?? [], outputs)
    const reservation = nonces.open()
    const first: Output[] = []
    ownChange.restore(restored?.records ?? [], now, first)
    etr.start(now, first)
    multicast.start(now)
    if (restored !== undefined) {
      restoredEids.restore(restored, now, first)
      itr.restore(restored, now, first)
      multicast.restore(restored.groups ?? [], now, first)
    }
    // The datapath at once; datagrams only when the nonces in them are reserved durably.
    outputs.push(...first.filter((one) => one.kind !== 'send'))
    persist(
      reservation,
      first.filter((one) => one.kind === 'send'),
      outputs,
    )
  }

  function query(
    commandId: string,
    command: Extract<Command, { kind: 'query-mapping' }>,
    now: Instant,
    outputs: Output[],
  ): void {
    const onAnswer = (mapping: Mapping | undefined, _now: Instant, more: Output[]): void => {
      const result: CommandResult =
        mapping === undefined
          ? refusal(504, 'no-reply', 'no Map-Resolver answered')
          : { ok: true, value: mappingView(mapping) }
      more.push({ kind: 'result', commandId, result })
    }
    itr.question(command.eid, now + QUERY_MS, onAnswer, now, outputs)
  }

  /** Where an EID of ours is, is never learned from what others send. */
  function isOurs(eid: Eid): boolean {
    return database.match(eid) !== undefined || database.dynamicPrefixOf(eid) !== undefined
  }

  function endBatch(now: Instant, outputs: Output[]): void {
    // The former site first: until it redirects, packets are lost.
    if (moves.endBatch(now, outputs)) etr.registrar.flushSoon(now)
    else etr.registrar.flush(now, outputs)
    multicast.endBatch(now, outputs)
  }

  return {
    itr,
    etr,
    multicast,
    replies(request, origin, now, outputs) {
      answerRequest(request, origin, now, outputs)
      const brought = request.mapReplyRecord?.eidPrefix
      if (brought !== undefined && !isOurs(brought)) itr.doubts.verify(brought, now, outputs)
    },
    start,
    handleDatapath(event, now, outputs) {
      switch (event.kind) {
        case 'packet-held':
          if (event.why === 'map-cache-miss') itr.handleHeld(event, now, outputs)
          return
        case 'local-eid-seen':
          if (!moves.handleLocalEidSeen(event, now, outputs))
            etr.handleLocalEidSeen(event, now, outputs)
          return
        case 'mac-seen':
          if (!moves.handleMacSeen(event, now, outputs)) etr.handleMacSeen(event, now, outputs)
          return
        case 'eid-hinted':
          return hinted.handle(event, now, outputs)
        case 'away-eid-hit':
          if (loops.handleAwayHit(event, now, outputs)) return
          source.awayHit(event.eid, event.sender, now, outputs)
          return smr.handleAwayHit(event, now, outputs)
        case 'sender-seen':
          ownChange.senderSeen(event.eid, event.sender, now)
          return moves.convergence.senderSeen(event.eid, event.sender, now, outputs)
        case 'unknown-eid':
          return smr.handleUnknown(event, now, outputs)
        case 'nonce-echo':
          return itr.handleNonceEcho(event, now, outputs)
        case 'source-doubted':
          return itr.doubts.handleDoubt(event, now, outputs)
        case 'status-bits-changed':
          return itr.doubts.handleStatusBits(event, now, outputs)
        case 'stale-map-version':
          return ownFacts.handleStale(event, now, outputs)
        case 'source-unmapped': {
          if (!isOurs(event.eid)) itr.doubts.glean(event, now, outputs)
          return
        }
        case 'path-too-narrow':
          return itr.handlePathTooNarrow(event, now, outputs)
        case 'eid-wanted':
          return itr.handleWanted(event, now, outputs)
        case 'map-cache-usage':
          return itr.handleUsage(event, now, outputs)
        case 'hold-released': {
          const { packets, heldMs } = event
          report(outputs, 'hold-released', 'info', { eid: formatEid(event.eid), packets, heldMs })
          placement.released(event.eid)
          return moves.handleHoldReleased(event.eid, now)
        }
        case 'hold-dropped': {
          const { packets, reason } = event
          return report(outputs, 'hold-dropped', 'warning', {
            eid: formatEid(event.eid),
            packets,
            reason,
          })
        }
        case 'group-joined':
        case 'group-left':
        case 'multicast-source-seen':
        case 'site-querier':
        case 'replication-usage':
          return multicast.handleEvent(event, now, outputs)
        case 'segment-address':
        case 'segment-packet':
          membership.handleEvent(event, now, outputs)
          return multicast.handleSegment(event, now, outputs)
        case 'encapsulated-pim':
          return multicast.handleJoin(event, now, outputs)
        case 'operation-failed':
          return report(outputs, 'datapath-operation-failed', 'error', {
            reason: event.reason,
            operation: event.operation,
          })
      }
    },
    endBatch,
    handleMove(message, bytes, from, now, outputs) {
      const question = exchange.receive(message, bytes, from, now, outputs)
      if (question === undefined) return
      if (!moves.handleQuestion(question, from, now, outputs))
        source.handleQuestion(question, from, now, outputs)
    },
    handleCommand(commandId, command, now, outputs) {
      const result = (value: CommandResult): void => {
        outputs.push({ kind: 'result', commandId, result: value })
      }
      switch (command.kind) {
        case 'clear-map-cache':
          return result({ ok: true, value: { removed: itr.clear(command.eidPrefix, outputs) } })
        case 'start-move':
          return moves.start(commandId, command, now, outputs)
        case 'endpoint-stopped':
        case 'endpoint-running':
        case 'endpoint-resumed':
          return result(handleEndpointEvent(command, { database, moves, source }, now, outputs))
        case 'cancel-move':
          return result(moves.cancel(command.moveId, now, outputs))
        case 'add-eid':
          result(
            moves.isMoving(eidFromPrefix(command.eidPrefix))
              ? refusal(409, 'move-in-progress', 'the EID is being moved')
              : etr.add(command.eidPrefix, command.interfaceName, now, outputs),
          )
          return endBatch(now, outputs)
        case 'remove-eid':
          return result(etr.remove(command.eidPrefix, now, outputs))
        case 'query-mapping':
          return query(commandId, command, now, outputs)
        case 'shutdown': {
          const { withdraw, keeping = [], keepingGroupsOf = [] } = command
          ownChange.handOver(now, outputs)
          const withdrawn = withdraw ? etr.withdrawAll(keeping, now, outputs) : 0
          if (withdraw) multicast.withdrawAll(keepingGroupsOf, now, outputs)
          return result({ ok: true, value: { withdrawn } })
        }
      }
    },
    handleDeadline(now, outputs) {
      itr.handleDeadline(now, outputs)
      etr.handleDeadline(now, outputs)
      smr.handleDeadline(now, outputs)
      ownFacts.handleDeadline(now, outputs)
      exchange.handleDeadline(now, outputs)
      moves.handleDeadline(now, outputs)
      source.handleDeadline(now, outputs)
      restoredEids.handleDeadline(now, outputs)
      hinted.handleDeadline(now, outputs)
      ownChange.handleDeadline(now, outputs)
      membership.handleDeadline(now, outputs)
      multicast.handleDeadline(now, outputs)
    },
    deadline: () =>
      earliest(
        itr.deadline(),
        etr.deadline(),
        smr.deadline(),
        ownFacts.deadline(),
        exchange.deadline(),
        moves.deadline(),
        source.deadline(),
        restoredEids.deadline(),
        hinted.deadline(),
        ownChange.deadline(),
        membership.deadline(),
        multicast.deadline(),
      ),
    views: {
      mapCache: (now) => itr.views(now),
      mappingDatabase: shown.views,
      locators: (now) => itr.locatorViews(now),
      subscriptions: (now) => itr.subscriptionViews(now),
      moves: (now) => log.views(now),
      groups: () => multicast.views(),
      pimLinks: multicast.pimLinks,
      listeners: (now) => membership.listenerViews(now),
      segments: () => membership.segmentViews(),
    },
    tables: {
      mapCache: (query, now) => itr.page(query, now),
      mappingDatabase: shown.page,
      move: (moveId, now) => log.view(moveId, now),
      sizes: () => ({
        mapCache: itr.size(),
        mappingDatabase: shown.size(),
        subscriptions: itr.subscriptionCount(),
        groups: multicast.size(),
        listenedGroups: membership.size(),
        moves: log.size,
        movesUnderWay: log.underWay(),
        unreachableLocators: itr.unreachableLocators(),
        narrowedPaths: itr.narrowedPaths(),
      }),
    },
  }
}

/** A mapping as the answer of a query: what `lig` prints. */
function mappingView(mapping: Mapping) {
  return {
    eidPrefix: formatEidPrefix(mapping.eidPrefix),
    instanceId: mapping.eidPrefix.instanceId,
    ttlMinutes: mapping.ttlMinutes,
    action: mapping.locators.length > 0 ? 'forward' : mapping.action,
    authoritative: mapping.authoritative,
    mapVersion: mapping.mapVersion,
    locators: mapping.locators.map(locatorView),
  }
}
