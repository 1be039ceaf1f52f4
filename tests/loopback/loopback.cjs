// Preloaded into kinesis-local, which by itself listens on every interface.
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...given) {
  if (given[0] && typeof given[0] === 'object' && given[0].port !== undefined) {
    given[0] = Object.assign({}, given[0], { host: '127.0.0.1' });
  } else if (typeof given[0] === 'number') {
    const done = given.find((one) => typeof one === 'function');
    return listen.call(this, { port: given[0], host: '127.0.0.1' }, done);
  }
  return listen.apply(this, given);
};
