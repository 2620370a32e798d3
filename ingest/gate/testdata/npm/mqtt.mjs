// Publishes by MQTT.js, as its argument says: {port, version, user, key}. Prints what came back, as one line of JSON.
import mqtt from 'mqtt'

const { port, version, user, key } = JSON.parse(process.argv[2])
const options = {
  host: '127.0.0.1', port, protocolVersion: version, username: user, password: key, clientId: 'js', clean: false,
  reconnectPeriod: 20, connectTimeout: 10_000,
  ...(version === 5 && { properties: { sessionExpiryInterval: 60 }, topicAliasMaximum: 0, autoAssignTopicAlias: true }),
}
const said = { present: [], refused: {} }
const refused = async (name, promise) => {
  try {
    await promise
    said.refused[name] = 0
  } catch (e) {
    said.refused[name] = e.code
  }
}

// Each quality, one after the other.
const client = mqtt.connect(options)
client.on('connect', (ack) => said.present.push(ack.sessionPresent))
for (const qos of [0, 1, 2]) {
  await client.publishAsync(`readings/${user}/q${qos}`, `${qos}`, { qos })
}
// A subscription that is granted, and topics that are not.
const granted = await client.subscribeAsync(`commands/${user}/#`, { qos: 1 })
said.granted = granted.map((g) => g.qos)
if (version === 5) {
  await refused('topic', client.publishAsync('nowhere', '1', { qos: 1 }))
  await refused('payload', client.publishAsync(`readings/${user}`, '{"a":', { qos: 1, properties: { contentType: 'application/json' } }))
  await refused('gateway', client.publishAsync('readings/own/a', '1', { qos: 2 }))
}
// Many at once, of all qualities that are acknowledged, over connections that break. What fails is not sent again: MQTT.js
// gives up what it has not sent yet when a connection ends while it goes on with what it has.
const all = []
for (let i = 0; i < 200; i++) {
  all.push(client.publishAsync(`readings/${user}/n${i}`, `${i}`, { qos: 1 + (i % 2) }).then(() => '', (e) => e.message))
  if (i % 40 === 39) {
    await all[i - 20]
    const again = new Promise((connected) => client.once('connect', connected))
    client.stream.destroy()
    await again
  }
}
said.failed = (await Promise.all(all)).flatMap((e, i) => (e === '' ? [] : [i]))
said.why = [...new Set(await Promise.all(all))].filter((e) => e !== '')
await client.endAsync()

// A wrong key.
const wrong = mqtt.connect({ ...options, password: 'bk_wrong', reconnectPeriod: 0 })
await refused('key', new Promise((resolve, reject) => { wrong.on('connect', resolve); wrong.on('error', reject) }))
wrong.end(true)
console.log(JSON.stringify(said))
