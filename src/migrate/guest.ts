/**
 * The guest of the laboratory: its domain XML (with the EIDs in <metadata>, as an operator would
 * write them), and its shell on TCP port 7000, by which traffic is started in it and fetched from it.
 */
import { spawn } from 'node:child_process'
import type { Topology } from '../config/topology-schema.js'
import { namespaceFile, packageFile } from '../lab/names.js'

export const GUEST = {
  name: 'vm1',
  uuid: '5e1f0a10-0000-4000-8000-000000000005',
  mac: '52:54:00:0a:0a:05',
  ipv4: '10.10.0.5',
  ipv6: 'fd00:10::5',
  instanceId: 7,
} as const

/** The domain as `virsh create` takes it: emulated, for nested virtualisation is rarely there. */
export function domainXml(): string {
  const boot = (file: string): string => packageFile('build', 'guest', file)
  const words = [
    'console=ttyS0 quiet mitigations=off tsc=reliable no_timer_check nokaslr audit=0',
    'cryptomgr.notests random.trust_cpu=on rcupdate.rcu_expedited=1 8250.nr_uarts=1',
    `selinux=0 apparmor=0 eid=${GUEST.ipv4}/24 gw=10.10.0.1 eid6=${GUEST.ipv6}/64 gw6=fd00:10::1`,
  ].join(' ')
  return `<domain type='qemu'>
  <name>${GUEST.name}</name>
  <uuid>${GUEST.uuid}</uuid>
  <metadata>
    <godwit:eids xmlns:godwit='urn:godwit:domain:1' instanceId='${GUEST.instanceId}'>
      <godwit:eid>${GUEST.ipv4}</godwit:eid>
      <godwit:eid>${GUEST.ipv6}</godwit:eid>
    </godwit:eids>
  </metadata>
  <memory unit='MiB'>192</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <kernel>${boot('vmlinux')}</kernel>
    <initrd>${boot('initrd.gz')}</initrd>
    <cmdline>${words}</cmdline>
  </os>
  <features><acpi/></features>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <interface type='bridge'>
      <source bridge='br0'/>
      <mac address='${GUEST.mac}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    <serial type='file'><source path='/var/log/libvirt/console.log' append='on'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
`
}

/**
 * Runs a script in the guest's shell, from the namespace of `host`, and gives what it printed.
 * Rejects when the guest does not answer within `limitMs`.
 */
export function inGuest(
  topology: Topology,
  host: string,
  script: string,
  limitMs = 10_000,
): Promise<Buffer> {
  const netns = `--net=${namespaceFile(topology.name, host)}`
  const words = [netns, 'busybox', 'nc', '-w', '3', GUEST.ipv4, '7000']
  return new Promise((resolve, reject) => {
    const child = spawn('nsenter', words, { stdio: ['pipe', 'pipe', 'ignore'] })
    const parts: Buffer[] = []
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs)
    child.stdout.on('data', (part: Buffer) => parts.push(part))
    child.stdin.on('error', () => {})
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      if (code === 0) resolve(Buffer.concat(parts))
      else reject(new Error(`the guest does not answer (${script.slice(0, 40)})`))
    })
    child.stdin.end(`${script}\nexit\n`)
  })
}
