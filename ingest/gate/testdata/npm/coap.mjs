// Posts by the npm package coap, as its argument says: {port, gateway, key}. Prints the code of each answer, as one line of JSON.
import coap from 'coap'

const { port, gateway, key } = JSON.parse(process.argv[2])
const post = (path, format, body, { query = `key=${key}`, confirmable = true, method = 'POST' } = {}) =>
  new Promise((resolve, reject) => {
    const request = coap.request({ host: '127.0.0.1', port, method, pathname: `/readings/${path}`, query, confirmable })
    if (format !== undefined) request.setOption('Content-Format', format)
    request.on('response', (response) => resolve(response.code))
    request.on('error', reject)
    request.end(body)
  })

const said = {
  lines: await post(gateway, 'text/plain', 'boiler a=1'),
  json: await post(gateway, 'application/json', '{"b":2}', { method: 'PUT' }),
  value: await post(`${gateway}/boiler/c`, 'text/plain', '3'),
  senml: await post(gateway, 110, '[{"n":"d","v":4}]'),
  non: await post(gateway, 'text/plain', 'boiler e=5', { confirmable: false }),
  key: await post(gateway, 'text/plain', 'boiler a=1', { query: 'key=wrong' }),
  payload: await post(gateway, 'text/plain', 'boiler'),
  format: await post(gateway, 'application/xml', '<a/>'),
}
said.many = (await Promise.all(Array.from({ length: 100 }, (_, i) => post(`${gateway}/n${i}`, 'text/plain', `${i}`)))).filter((code) => code !== '2.04')
console.log(JSON.stringify(said))
