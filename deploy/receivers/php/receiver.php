<?php
// Receives webhooks of xacam with nothing but PHP. Copy it and change handle.
declare(strict_types=1);

const TOLERANCE = 300; // seconds
const MAX_BODY = 64 * 1024;

function keys(): array
{
    $keys = [];
    foreach (array_filter(explode(' ', (string) getenv('WEBHOOK_SECRET'))) as $s) {
        $key = base64_decode(preg_replace('/^whsec_/', '', $s), true);
        if ($key !== false && strlen($key) >= 24) {
            $keys[] = $key;
        }
    }
    return $keys;
}

function verified(string $id, string $stamp, string $given, string $body): bool
{
    if ($id === '' || !preg_match('/^[0-9]{1,15}$/D', $stamp) || abs(time() - (int) $stamp) > TOLERANCE) {
        return false;
    }
    foreach (explode(' ', $given) as $one) {
        [$version, $signature] = array_pad(explode(',', $one, 2), 2, '');
        foreach (keys() as $key) {
            $want = base64_encode(hash_hmac('sha256', "$id.$stamp.$body", $key, true));
            if ($version === 'v1' && hash_equals($want, $signature)) {
                return true;
            }
        }
    }
    return false;
}

// handle stores an event once. Of a receiver that runs for years: a table with
// a unique key.
function handle(string $id, string $body): bool
{
    $file = fopen(getenv('EVENTS_FILE') ?: 'events.jsonl', 'c+');
    if ($file === false || !flock($file, LOCK_EX)) {
        return false;
    }
    $last = "\n";
    while (($line = fgets($file)) !== false) {
        $last = $line;
        if ((json_decode($line, true)['webhook_id'] ?? null) === $id) {
            return true;
        }
    }
    $line = json_encode(['webhook_id' => $id, 'body' => $body], JSON_INVALID_UTF8_SUBSTITUTE) . "\n";
    if (substr($last, -1) !== "\n") {
        $line = "\n" . $line; // ends the half line
    }
    $ok = fwrite($file, $line) === strlen($line) && fflush($file);
    if (function_exists('fsync')) { // PHP 8.1
        $ok = $ok && fsync($file);
    }
    return fclose($file) && $ok;
}

if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'POST') {
    http_response_code(405);
    return;
}
$body = (string) file_get_contents('php://input', false, null, 0, MAX_BODY + 1);
$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
if (strlen($body) > MAX_BODY) {
    http_response_code(413);
} elseif (!verified($id, $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '', $body)) {
    http_response_code(401);
} else {
    http_response_code(handle($id, $body) ? 204 : 500); // after 500 xacam tries again
}
