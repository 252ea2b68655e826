/**
 * One hypervisor of the laboratory: a libvirtd in the network namespace of a cloud, with mount and
 * host-name namespaces of its own, so that two of them run on one machine as if it were two.
 *
 * Everything it writes is below the topology's state directory, and everything it starts stays in
 * the cloud's network namespace: taking the topology down ends it all, however the last run ended.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Topology } from '../config/topology-schema.js'
import { poll } from '../lab/daemons.js'
import { labPaths, namespaceFile } from '../lab/names.js'
import { runProgram } from '../lab/network.js'
import { startProcess } from '../lab/processes.js'

export interface Hypervisor {
  /** Its host name, which the others resolve: that of the cloud, or `…-beside`. */
  readonly name: string
  /** In whose network namespace it is. */
  readonly cloud: string
  /** Addresses of the cloud, IPv4 first: where migrations to it go. */
  readonly addresses: readonly [string, string]
  readonly port: number
  /** What the hypervisor sees as /run. */
  readonly run: string
  readonly etc: string
  readonly log: string
  /** libvirt URI of its socket, as seen from outside. */
  readonly uri: string
}

/**
 * Where the hypervisor of `cloud` keeps its things; nothing is touched. A second one `beside` it shares
 * its bridge and addresses: what is migrated between the two moves on no network.
 */
export function hypervisorOf(topology: Topology, cloud: string, beside = false): Hypervisor {
  const name = beside ? `${cloud}-beside` : cloud
  const home = join(labPaths(topology.name).state, 'hypervisors', name)
  const bare = topology.topology.nodes[cloud]!.addresses['core0']!.map((one) => one.split('/')[0]!)
  const [ipv4 = '', ipv6 = ''] = bare
  const run = join(home, 'run')
  return {
    name,
    cloud,
    addresses: [ipv4, ipv6],
    port: beside ? LIBVIRT_PORT + 1 : LIBVIRT_PORT,
    run,
    etc: join(home, 'etc'),
    log: join(home, 'log'),
    uri: `qemu:///system?socket=${join(run, 'libvirt', 'libvirt-sock')}`,
  }
}

/** Prepares directories and configuration, so that a hook can be installed before the start. */
export function prepareHypervisor(hypervisor: Hypervisor, index: number): void {
  const { run, etc, log, addresses, port } = hypervisor
  // Two on one address may not take the same ports.
  const firstPort = FIRST_MIGRATION_PORT + (port - LIBVIRT_PORT) * MIGRATION_PORTS
  for (const directory of [run, join(etc, 'hooks'), log, join(etc, '..', 'lib')]) {
    mkdirSync(directory, { recursive: true })
  }
  const uuid = `11111111-1111-4111-8111-11111111111${index}`
  writeFileSync(
    join(etc, 'libvirtd.conf'),
    `listen_tls = 0
listen_tcp = 1
tcp_port = "${port}"
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
host_uuid = "${uuid}"
log_level = 3
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
`,
  )
  // Without a security driver, namespaces and cgroups it needs nothing that one machine has once.
  writeFileSync(
    join(etc, 'qemu.conf'),
    `user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
migration_address = "::"
migration_host = "${addresses[0]}"
migration_port_min = ${firstPort}
migration_port_max = ${firstPort + MIGRATION_PORTS - 1}
`,
  )
}

/** Starts libvirtd; resolves when it answers. `all` is every hypervisor, for names to resolve. */
export async function startHypervisor(
  topology: Topology,
  hypervisor: Hypervisor,
  all: readonly Hypervisor[],
): Promise<void> {
  const { name, cloud, etc, run, log } = hypervisor
  const home = join(etc, '..')
  mkdirSync(CAPABILITY_CACHE, { recursive: true })
  // Files that it looks up at its start: a name that does not resolve costs five seconds each time.
  const hosts = all
    .flatMap((one) => one.addresses.map((address) => `${address} ${one.name}\n`))
    .join('')
  writeFileSync(join(home, 'hosts'), `127.0.0.1 localhost\n${hosts}`)
  writeFileSync(join(home, 'resolv.conf'), '')
  const launch = join(home, 'launch')
  writeFileSync(
    launch,
    `#!/bin/bash
set -e
hostname ${name}
mount --make-rprivate /
mkdir -p /var/lib/libvirt /etc/libvirt /var/cache/libvirt /var/log/libvirt
mount --bind ${home}/hosts /etc/hosts
mount --bind ${home}/resolv.conf /etc/resolv.conf
mount --bind ${home}/lib /var/lib/libvirt
mount --bind ${etc} /etc/libvirt
mount --bind ${log} /var/log/libvirt
mount --bind ${CAPABILITY_CACHE} /var/cache/libvirt
mount --bind ${run} /run
# Machines before those who watch them: a real hypervisor has a core for each of its guests.
exec nice -n ${PRECEDENCE} /usr/sbin/libvirtd --listen --pid-file /run/libvirtd.pid
`,
  )
  chmodSync(launch, 0o755)
  startProcess({
    topology: topology.name,
    node: cloud,
    name: `${name}-libvirtd`,
    command: ['setsid', 'unshare', '--mount', '--uts', launch],
    output: 'log',
  })
  await poll(START_LIMIT_MS, async () => {
    const answer = await virsh(topology, hypervisor, ['uri']).catch((cause: Error) => cause)
    return answer instanceof Error ? answer.message : undefined
  })
}

/** One virsh command against this hypervisor, from inside its cloud; its stdout. */
export function virsh(
  topology: Topology,
  { cloud, uri }: Hypervisor,
  args: readonly string[],
): Promise<string> {
  const netns = `--net=${namespaceFile(topology.name, cloud)}`
  return runProgram('nsenter', [netns, 'virsh', '-q', '-c', uri, ...args])
}

/** The same as its own administrator would: its names resolve as they do for its libvirtd. */
export function virshOnHost(
  topology: Topology,
  hypervisor: Hypervisor,
  args: readonly string[],
): Promise<string> {
  const netns = `--net=${namespaceFile(topology.name, hypervisor.cloud)}`
  const mounts = `--mount=/proc/${libvirtdOf(hypervisor)}/ns/mnt`
  return runProgram('nsenter', [netns, mounts, 'virsh', '-q', '-c', 'qemu:///system', ...args])
}

/** The PID of its libvirtd. */
export function libvirtdOf({ run }: Hypervisor): number {
  return Number(readFileSync(join(run, 'libvirtd.pid'), 'utf8'))
}

/** What libvirt found out about this QEMU: finding it out again would cost four seconds. */
const CAPABILITY_CACHE = '/var/tmp/godwit-libvirt-cache'
const START_LIMIT_MS = 30_000
const LIBVIRT_PORT = 16_509
const FIRST_MIGRATION_PORT = 49_152
const MIGRATION_PORTS = 64
const PRECEDENCE = -5
