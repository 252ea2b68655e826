/** Topologies on the real kernel, without daemons: links, panel, and leaving nothing behind. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { labNames, labStatus, lockTopology, takeDown } from '../../src/lab/lab.js'
import { compiledFile, labPaths, packageFile } from '../../src/lab/names.js'
import { openPanel } from '../../src/lab/panel.js'
import { namespacesOf, processesIn, startProcess } from '../../src/lab/processes.js'
import { labSkip, startLab } from '../support/running-lab.js'

const NAME = 'test-network'

t.setTimeout(60_000)

t.test('a topology without daemons', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'two-clouds.yaml', NAME, { daemons: false })

  t.test('has every namespace, and hosts of one bridge talk over both families', async (t) => {
    t.equal(namespacesOf(NAME).length, Object.keys(lab.topology.topology.nodes).length)
    for (const address of ['10.10.0.5', 'fd00:10::5']) {
      const serve = lab.probe('vm1', 'tcp', 'serve', '--port', '7000')
      await serve.says('listening')
      const options = ['--to', address, '--port', '7000', '--bytes', '1000000']
      const { stdout } = await lab.probe('vm2', 'tcp', 'connect', ...options).finished
      t.match(JSON.parse(stdout), { corrupt: 0, resets: 0, complete: true }, address)
      await serve.finished
    }
    const status = await labStatus(lab.topology)
    t.equal(status.up, false, 'daemons are missing')
    t.same(status.panels, { panel: 'cloud-a' })
  })

  t.test('the panel cuts one cloud off and connects the other, and counts both', async (t) => {
    const panel = openPanel(lab.topology, 'panel')
    const file = join(lab.directory, 'panel.records')
    const receiver = lab.probe('vm1', 'stream', 'recv', '--port', '7001', '--records', file)
    await receiver.says('listening')
    const send = (from: string, id: number): Promise<unknown> =>
      lab.probe(from, 'stream', 'send', '--stream', `${id},10.10.0.5,7001`, '--count', '100')
        .finished

    await send('vm2', 1)
    const before = panel.counters()
    panel.flip('cloud-b')
    t.equal(panel.active(), 'cloud-b')
    await send('vm2', 2)
    await send('vm3', 3)
    panel.block()
    t.equal(panel.active(), undefined)
    await send('vm3', 4)
    panel.flip('cloud-a')
    await send('vm2', 5)
    const after = panel.counters()
    panel.close()
    await receiver.stop()

    const count = (id: number): number =>
      lab.records(file).filter(({ stream }) => stream === id).length
    t.same([1, 2, 3, 4, 5].map(count), [100, 0, 100, 0, 100])
    t.ok((after['cloud-a']?.dropped ?? 0) - (before['cloud-a']?.dropped ?? 0) >= 100)
    t.ok((after['cloud-b']?.dropped ?? 0) >= 100)
    t.ok((after['cloud-b']?.forwardedDown ?? 0) >= 100)
  })

  t.test(
    'switching back and forth under traffic loses nothing that the endpoint sends',
    async (t) => {
      // Frames from the endpoint go to whichever leg is active: together both clouds get them all.
      const panel = openPanel(lab.topology, 'panel')
      const files = ['vm2', 'vm3'].map((node) => join(lab.directory, `${node}.records`))
      const receivers = ['vm2', 'vm3'].map((node, index) =>
        lab.probe(node, 'stream', 'recv', '--port', '7002', '--records', files[index]!),
      )
      await Promise.all(receivers.map((receiver) => receiver.says('listening')))
      // Both have the address 10.10.0.200 and one MAC: whoever is connected gets the packet.
      for (const node of ['vm2', 'vm3']) {
        await lab.run(node, 'ip', 'address', 'add', '10.10.0.200/24', 'dev', 'eth0')
      }
      await lab.run(
        'vm1',
        'ip',
        'neigh',
        'replace',
        '10.10.0.200',
        'lladdr',
        'ff:ff:ff:ff:ff:ff',
        'dev',
        'eth0',
      )
      const sender = lab.probe(
        'vm1',
        'stream',
        'send',
        '--stream',
        '9,10.10.0.200,7002',
        '--count',
        '400',
      )
      for (let turn = 0; turn < 20; turn++) {
        panel.flip(turn % 2 === 0 ? 'cloud-b' : 'cloud-a')
        await new Promise((resolve) => setTimeout(resolve, 15))
      }
      await sender.finished
      await Promise.all(receivers.map((receiver) => receiver.stop()))
      panel.close()
      const sequences = files.map((file) => lab.records(file).map(({ sequence }) => sequence))
      t.ok(
        sequences.every((list) => list.length > 0),
        'both clouds had their share',
      )
      t.equal(new Set(sequences.flat()).size, 400)
      t.equal(sequences.flat().length, 400, 'and none came twice')
    },
  )
})

t.test('nothing is left behind', { skip: labSkip }, async (t) => {
  t.test('after going down, though processes were running in it', async (t) => {
    const lab = await startLab(t, 'static-pair.yaml', 'test-left', { daemons: false })
    const options = { topology: 'test-left', node: 'host1', output: 'log' } as const
    startProcess({ ...options, name: 'deaf', command: ['sh', '-c', 'trap "" TERM; sleep 1000'] })
    const stranger = lab.start('host2', 'sleep', '1000')
    t.ok(processesIn(namespacesOf('test-left')).length >= 2)
    await takeDown('test-left')
    t.not((await stranger.finished).code, 0)
    t.same(namespacesOf('test-left'), [])
    t.notOk(existsSync(labPaths('test-left').state))
    t.notOk(existsSync(labPaths('test-left').pins))
    t.notOk(labNames().includes('test-left'))
  })

  t.test('after whoever built it was killed, once it is built again', async (t) => {
    const script = `
      const { bringUp } = await import(${JSON.stringify(compiledFile('./lab.js'))})
      const { loadTopology } = await import(${JSON.stringify(compiledFile('./topology.js'))})
      const { lockTopology } = await import(${JSON.stringify(compiledFile('./lab.js'))})
      const loaded = loadTopology(${JSON.stringify(packageFile('topologies', 'two-clouds.yaml'))})
      const topology = { ...loaded.topology, name: 'test-killed' }
      lockTopology('test-killed')
      process.stdout.write('building')
      await bringUp({ ...loaded, topology }, { daemons: false })
      process.stdout.write('built')
      setInterval(() => {}, 1000)`
    for (const word of ['building', 'built']) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script])
      let output = ''
      await new Promise<void>((resolve) => {
        child.stdout.on('data', (data) => {
          output += data
          if (output.endsWith(word)) resolve()
        })
      })
      t.throws(
        () => lockTopology('test-killed'),
        /is in use by process/,
        'the living are respected',
      )
      const gone = new Promise((resolve) => child.on('close', resolve))
      child.kill('SIGKILL')
      await gone
      lockTopology('test-killed')()
      await takeDown('test-killed')
      t.same(namespacesOf('test-killed'), [], `killed when ${word}`)
      t.notOk(existsSync(labPaths('test-killed').pins))
    }
  })
})
